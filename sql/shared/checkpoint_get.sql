select incarnation, next_offset, fence, owner, session, open_delete
from lastword.checkpoint where pipeline = ? and topic = ? and partition_id = ?
