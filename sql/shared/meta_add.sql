insert into lastword.meta (name, value) values (?, ?)
