insert into lastword.feed (pipeline, id, topic, source_schema, source_table, table_name) values (?, ?, ?, ?, ?, ?)
on duplicate key update topic = topic
