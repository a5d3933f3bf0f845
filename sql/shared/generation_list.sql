select generation, opened_ms, closed_ms, ends, state, collected
from lastword.tombstone_generation where table_name = ? order by generation
