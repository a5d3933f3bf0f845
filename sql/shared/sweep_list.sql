select table_name, topic, token, incarnation, snapshot_position, marked_ms, ends, state, removed
from lastword.sweep order by table_name, topic, token
