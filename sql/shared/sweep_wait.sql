update lastword.sweep set ends = ?, state = 'waiting' where table_name = ? and topic = ? and token = ?
