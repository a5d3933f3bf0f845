update lastword.table_state set delete_mode = ? where table_name = ?
