-- Types that made tables use where an extension brings them, each as a statement writes it whatever the search path is.
select t.typname::text, pg_catalog.format('%I.%I', n.nspname, t.typname)
  from pg_catalog.pg_type t
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  join pg_catalog.pg_extension e on d.refclassid = 'pg_catalog.pg_extension'::regclass and d.refobjid = e.oid
 where (e.extname, t.typname) in (('citext', 'citext'), ('hstore', 'hstore'), ('ltree', 'ltree'), ('postgis', 'geometry'),
        ('postgis', 'geography'), ('vector', 'vector'), ('vector', 'halfvec'), ('vector', 'sparsevec'))
