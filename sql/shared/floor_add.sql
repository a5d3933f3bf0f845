insert into lastword.collection_floor (table_name, scope, token) values (?, ?, ?)
