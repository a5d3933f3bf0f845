insert into lastword.feed (pipeline, id, topic, source_schema, source_table, table_name, source_database,
    source_server)
values (?, ?, ?, ?, ?, ?, ?, ?)
on duplicate key update topic = topic
