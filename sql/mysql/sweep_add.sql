insert into lastword.sweep (table_name, topic, token, incarnation, snapshot_position, marked_ms, state)
values (?, ?, ?, ?, ?, {now}, 'marked')
on duplicate key update topic = topic
