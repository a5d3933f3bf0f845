select topic, partition_id, fence, owner, next_offset from lastword.checkpoint where pipeline = ?
