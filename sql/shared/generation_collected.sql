update lastword.tombstone_generation set state = 'collected', collected = collected + ?
where table_name = ? and generation = ?
