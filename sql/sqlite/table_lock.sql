-- The transaction holds the database's one write lock already.
select truncate_token, floor_version from lastword.table_state where table_name = ?
