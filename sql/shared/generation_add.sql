insert into lastword.tombstone_generation (table_name, generation, opened_ms, closed_ms, ends, state)
values (?, ?, ?, ?, ?, 'closed')
