update lastword.collection_floor set token = ? where table_name = ? and scope = ?
