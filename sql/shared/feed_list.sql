select pipeline, topic, source_schema, source_table, table_name, source_database, source_server from lastword.feed order by pipeline, id
