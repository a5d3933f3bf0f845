select 1 from lastword.open_column where table_name = ? limit 1
