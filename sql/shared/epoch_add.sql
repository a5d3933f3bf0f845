insert into lastword.source_epoch (topic, incarnation, partition_id, ordinal, marker, first_offset,
                                   first_number, bound_number, previous_top, opened_by, opened_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now})
