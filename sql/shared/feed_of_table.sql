select pipeline, topic, source_schema, source_table, table_name, source_database, source_server
from lastword.feed where pipeline = ? and lower(table_name) = lower(?) order by id
