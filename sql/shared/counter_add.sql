insert into lastword.table_counter (pipeline, table_name) values (?, ?) on conflict (pipeline, table_name) do nothing
