update lastword.sweep set state = ?, removed = ? where table_name = ? and topic = ? and token = ?
