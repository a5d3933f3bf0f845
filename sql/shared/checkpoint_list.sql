select topic, partition_id, incarnation, next_offset, fence, owner, source_time_ms,
       changes, filtered, quarantined, control, updated_ms
from lastword.checkpoint where pipeline = ? order by topic, partition_id
