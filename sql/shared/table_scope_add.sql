insert into lastword.table_scope (table_name, scope) values (?, ?) on conflict (table_name) do nothing
