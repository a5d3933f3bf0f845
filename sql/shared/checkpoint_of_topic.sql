select pipeline, partition_id, incarnation, next_offset, top_number
from lastword.checkpoint where topic = ? order by partition_id, pipeline
