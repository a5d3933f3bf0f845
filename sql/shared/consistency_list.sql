select source, consistent_to, by_time, inside, updated_ms from lastword.consistency where pipeline = ? order by source
