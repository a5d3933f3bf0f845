delete from lastword.collection_floor where table_name = ?
