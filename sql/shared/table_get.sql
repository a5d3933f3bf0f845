select truncate_token, contract, delete_mode, token_storage, created_ms
from lastword.table_state where table_name = ?
