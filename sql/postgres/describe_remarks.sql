-- What else has a say about rows of a table: triggers before rows are written, foreign keys from it and to it.
select 'trigger', g.tgname::text, ''
  from pg_catalog.pg_trigger g
 where g.tgrelid = $1 and not g.tgisinternal and g.tgenabled <> 'D' and g.tgtype & 3 = 3
 union all
select 'parent', f.conname::text, f.confrelid::pg_catalog.regclass::text
  from pg_catalog.pg_constraint f
 where f.conrelid = $1 and f.contype = 'f'
 union all
select 'child', f.conname::text, f.conrelid::pg_catalog.regclass::text
  from pg_catalog.pg_constraint f
 where f.confrelid = $1 and f.contype = 'f'
 order by 1, 2
