-- Must count the row that it matched, changed or not. No news leave the position as it is.
update lastword.consistency
set consistent_to = coalesce(?, consistent_to), by_time = by_time + ?, inside = inside + ?, updated_ms = {now}
where pipeline = ? and source = ?
