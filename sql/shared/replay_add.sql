insert into lastword.replay (id, pipeline, ranges, repair, state, who, started_ms, updated_ms)
values (?, ?, ?, ?, 'running', ?, {now}, {now})
