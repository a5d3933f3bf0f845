select incarnation, next_offset, fence, owner, session, open_delete, top_token, top_time_ms, top_number, top_offset
from lastword.checkpoint where pipeline = ? and topic = ? and partition_id = ?
