select table_name, contract, delete_mode from lastword.table_state order by table_name
