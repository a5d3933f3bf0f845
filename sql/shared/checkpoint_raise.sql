-- Waits for whatever transaction still holds the row: that is what settles an unknown outcome.
update lastword.checkpoint set fence = fence + 1, owner = ?, session = ?, updated_ms = {now}
where pipeline = ? and topic = ? and partition_id = ?
