update lastword.table_state set truncate_token = ? where table_name = ?
