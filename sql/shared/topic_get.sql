select source_schema, source_table, by_source, source_database, source_server from lastword.topic_source where topic = ?
