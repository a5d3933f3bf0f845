insert into lastword.topic_source (topic, source_schema, source_table, by_source) values (?, ?, ?, ?)
on duplicate key update topic = topic
