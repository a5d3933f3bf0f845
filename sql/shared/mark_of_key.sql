-- A record that was applied after all marks nothing any more; one that was given up still does.
select m.token from lastword.key_mark m
join lastword.quarantine q
  on q.pipeline = m.pipeline and q.topic = m.topic and q.incarnation = m.incarnation
  and q.partition_id = m.partition_id and q.record_offset = m.record_offset
where m.table_name = ? and m.key_digest = ? and q.state <> 'retried'
