-- Of every pipeline and replay: all of them build their tokens from the epochs of the topic.
update lastword.checkpoint set fence = fence + 1, updated_ms = {now} where topic = ? and partition_id = ?
