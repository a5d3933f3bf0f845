-- Whole, immediate, valid unique indexes on plain columns, one row a column; the primary key first.
select i.indexrelid, i.indisprimary, a.attname
  from pg_catalog.pg_index i
 cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, position)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
 where i.indrelid = $1
   and i.indisunique and i.indisvalid
   and (i.indisprimary or i.indimmediate)
   and i.indpred is null and i.indexprs is null
   and k.position <= i.indnkeyatts
 order by i.indisprimary desc, i.indexrelid, k.position
