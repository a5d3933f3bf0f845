-- Rows that no committed token rests on.
delete from lastword.source_epoch where topic = ? and incarnation = ? and partition_id = ? and first_offset >= ?
