update lastword.quarantine set state = ?, last_ms = {now} where id = ?
