update lastword.checkpoint set next_offset = ?, incarnation = ?, open_delete = ?
where pipeline = ? and topic = ? and partition_id = ?
