insert into lastword.ledger (topic, incarnation, partition_id, kind, first_offset, value) values (?, ?, ?, ?, ?, ?)
on conflict (topic, incarnation, partition_id, kind, first_offset) do nothing
