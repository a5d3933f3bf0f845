select id, pipeline, topic, incarnation, partition_id, record_offset, record_time_ms, table_name, token, reason, detail,
       state, tries, first_ms, last_ms, key_bytes, value_bytes, headers
from lastword.quarantine where id = ?
