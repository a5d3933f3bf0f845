select table_name, applied, superseded_in_batch, superseded_by_row, superseded_by_tombstone, superseded_by_truncate,
       recheck_deleted, tombstones
from lastword.table_counter where pipeline = ? order by table_name
