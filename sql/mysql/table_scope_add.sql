insert into lastword.table_scope (table_name, scope) values (?, ?) on duplicate key update scope = scope
