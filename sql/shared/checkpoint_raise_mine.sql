update lastword.checkpoint set fence = fence + 1, owner = ?, session = ?, updated_ms = {now}
where pipeline = ? and topic = ? and partition_id = ? and owner = ?
