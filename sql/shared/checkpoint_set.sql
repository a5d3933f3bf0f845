update lastword.checkpoint set next_offset = ?, incarnation = ?, open_delete = null
where pipeline = ? and topic = ? and partition_id = ?
