select truncate_token, floor_version, contract, delete_mode, token_storage, created_ms
from lastword.table_state where table_name = ?
