-- Must count the row that it matched, changed or not.
update lastword.table_counter
set applied = applied + ?, superseded_in_batch = superseded_in_batch + ?, superseded_by_row = superseded_by_row + ?,
    superseded_by_tombstone = superseded_by_tombstone + ?, superseded_by_truncate = superseded_by_truncate + ?,
    recheck_deleted = recheck_deleted + ?, tombstones = tombstones + ?
where pipeline = ? and table_name = ?
