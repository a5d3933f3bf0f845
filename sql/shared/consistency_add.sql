insert into lastword.consistency (pipeline, source, consistent_to, by_time, inside, updated_ms)
values (?, ?, ?, ?, ?, {now})
