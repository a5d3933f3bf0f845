insert into lastword.scope (id, description) values (?, ?)
