update lastword.table_state set floor_version = floor_version + 1 where table_name = ?
