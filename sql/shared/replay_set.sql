update lastword.replay
set state = ?, records = ?, applied = ?, superseded = ?, quarantined = ?, updated_ms = {now} where id = ?
