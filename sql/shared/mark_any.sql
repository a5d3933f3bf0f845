select 1 from lastword.key_mark where table_name = ? limit 1
