-- Without the bytes, which can be large. A null filter filters nothing.
select id, pipeline, topic, incarnation, partition_id, record_offset, record_time_ms, table_name, token, reason, detail,
       state, tries, first_ms, last_ms
from lastword.quarantine
where pipeline = ? and topic = coalesce(?, topic) and coalesce(table_name, '') = coalesce(?, table_name, '')
  and state = coalesce(?, state)
order by id limit ?
