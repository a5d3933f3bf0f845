insert into lastword.table_state (table_name, contract, delete_mode, token_storage, created_ms)
values (?, ?, ?, ?, {now})
on conflict (table_name) do nothing
