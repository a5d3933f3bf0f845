insert into lastword.source_epoch (topic, incarnation, partition_id, ordinal, marker, first_offset,
                                   first_number, first_time_ms, bound_number, previous_top, opened_by, opened_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now})
