select incarnation, partition_id, kind, first_offset, value from lastword.ledger
where topic = ? order by partition_id, incarnation, first_offset, kind
