-- Fence 0 and nobody's: the claim that follows raises it.
insert into lastword.checkpoint (pipeline, topic, partition_id, incarnation, next_offset, fence, owner, updated_ms)
values (?, ?, ?, ?, ?, 0, '', {now})
on duplicate key update pipeline = pipeline
