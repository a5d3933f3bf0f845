insert into lastword.topic_source (topic, source_schema, source_table, by_source, source_database, source_server)
values (?, ?, ?, ?, ?, ?)
on duplicate key update topic = topic
