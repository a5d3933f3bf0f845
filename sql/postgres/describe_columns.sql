select a.attname,
       a.atttypid,
       a.atttypmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod),
       t.typname,
       not a.attnotnull,
       a.attgenerated <> '',
       a.atthasdef or a.attidentity <> '',
       coalesce(not co.collisdeterministic, false)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_collation co on co.oid = a.attcollation
 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
 order by a.attnum
