update lastword.meta set value = ? where name = ?
