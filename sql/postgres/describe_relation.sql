-- The last column: whether deleting a row may change other tables.
select c.oid, n.nspname, c.relname, c.relkind::text,
       exists (select 1 from pg_catalog.pg_constraint f where f.confrelid = c.oid and f.contype = 'f')
       or exists (select 1 from pg_catalog.pg_trigger g
                   where g.tgrelid = c.oid and not g.tgisinternal and g.tgtype & 8 <> 0)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass($1)
