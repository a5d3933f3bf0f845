select count(*) from lastword.ledger where topic = ? and partition_id = ? and kind = ?
