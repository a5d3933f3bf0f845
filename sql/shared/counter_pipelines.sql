select pipeline from lastword.table_counter where table_name = ? order by pipeline
