select truncate_token, floor_version from lastword.table_state where table_name = ? for update
