-- Changes nothing; holds the row until the transaction ends, if the fence is still the caller's.
update lastword.checkpoint set fence = fence
where pipeline = ? and topic = ? and partition_id = ? and fence = ?
