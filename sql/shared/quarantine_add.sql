-- A record that is kept already is only counted again: its first reason and its state stay.
insert into lastword.quarantine as q
    (pipeline, topic, incarnation, partition_id, record_offset, record_time_ms, key_bytes, value_bytes, headers,
     table_name, token, reason, detail, state, tries, first_ms, last_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'new', 1, {now}, {now})
on conflict (pipeline, topic, incarnation, partition_id, record_offset)
do update set tries = q.tries + 1, last_ms = excluded.last_ms
