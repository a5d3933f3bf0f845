select count(*) from lastword.ledger where topic = ? and incarnation = ? and partition_id = ? and kind = ?
