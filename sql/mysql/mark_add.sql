insert into lastword.key_mark
    (pipeline, topic, incarnation, partition_id, record_offset, table_name, key_digest, token)
values (?, ?, ?, ?, ?, ?, ?, ?)
on duplicate key update token = token
