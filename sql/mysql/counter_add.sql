insert into lastword.table_counter (pipeline, table_name) values (?, ?) on duplicate key update pipeline = pipeline
