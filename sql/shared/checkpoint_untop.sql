-- Another incarnation of the topic: what its stream showed begins anew.
update lastword.checkpoint set top_token = null, top_time_ms = null, top_number = null, top_offset = null
where pipeline = ? and topic = ? and partition_id = ? and incarnation <> ?
