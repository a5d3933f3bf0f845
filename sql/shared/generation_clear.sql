delete from lastword.tombstone_generation where table_name = ?
