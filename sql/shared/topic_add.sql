insert into lastword.topic_source (topic, source_schema, source_table, by_source) values (?, ?, ?, ?)
on conflict (topic, source_schema, source_table) do nothing
