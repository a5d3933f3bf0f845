select source_schema, source_table, by_source from lastword.topic_source where topic = ?
