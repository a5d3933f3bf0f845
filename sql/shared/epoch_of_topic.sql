select topic, incarnation, partition_id, ordinal, marker, first_offset, first_number, first_time_ms, bound_number,
       previous_top, opened_by, opened_ms
from lastword.source_epoch
where topic = ? order by partition_id, incarnation, first_offset, ordinal
