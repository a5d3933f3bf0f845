-- The compare-and-swap. It must count the rows that it matched, changed or not.
update lastword.checkpoint
set next_offset = ?, open_delete = ?, source_time_ms = coalesce(?, source_time_ms),
    changes = changes + ?, filtered = filtered + ?, quarantined = quarantined + ?, control = control + ?,
    top_token = ?, top_time_ms = ?, top_number = ?, top_offset = ?, updated_ms = {now}
where pipeline = ? and topic = ? and partition_id = ? and fence = ? and next_offset = ?
