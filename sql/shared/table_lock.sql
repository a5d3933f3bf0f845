select truncate_token from lastword.table_state where table_name = ? for update
