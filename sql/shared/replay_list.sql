select id, ranges, repair, state, records, applied, superseded, quarantined, who, started_ms, updated_ms
from lastword.replay where pipeline = ? order by id
