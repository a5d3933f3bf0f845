insert into lastword.ledger (topic, incarnation, partition_id, kind, first_offset, value) values (?, ?, ?, ?, ?, ?)
on duplicate key update topic = topic
