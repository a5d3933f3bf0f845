select pipeline, topic, source_schema, source_table, table_name from lastword.feed order by pipeline, id
