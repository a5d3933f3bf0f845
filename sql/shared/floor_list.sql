select token from lastword.collection_floor where table_name = ? order by scope
