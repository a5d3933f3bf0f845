-- Raises the fence and keeps the owner, so that it finds itself fenced and claims again.
update lastword.checkpoint set fence = fence + 1, updated_ms = {now}
where pipeline = ? and topic = ? and partition_id = ?
