-- Columns with their types: domains down to their base, and what an array is of. One row a column, and one more an array, for
-- its elements. A column of a type with neither lists nor a domain beneath is step 0.
with recursive walk (attnum, step, element, typid, typmod) as (
    select a.attnum, 0, 0, a.atttypid, a.atttypmod
      from pg_catalog.pg_attribute a
     where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped
     union all
    select w.attnum, w.step + 1,
           case when t.typtype = 'd' then w.element else w.element + 1 end,
           case when t.typtype = 'd' then t.typbasetype else t.typelem end,
           case when t.typtype = 'd' then t.typtypmod else w.typmod end
      from walk w
      join pg_catalog.pg_type t on t.oid = w.typid
     where t.typtype = 'd'
        or exists (select 1 from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid)
)
select a.attname,
       w.element,
       w.typid,
       w.typmod,
       pg_catalog.format_type(w.typid, w.typmod),
       t.typname,
       t.typtype::text,
       t.typdelim::text,
       (select e.extname::text
          from pg_catalog.pg_depend d
          join pg_catalog.pg_extension e on e.oid = d.refobjid
         where d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid
           and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'),
       not a.attnotnull,
       a.attgenerated <> '',
       a.atthasdef or a.attidentity <> '',
       a.attidentity = 'a',
       coalesce(not co.collisdeterministic, false),
       -- How many digits money has behind the point hangs on lc_monetary.
       pg_catalog.scale('0'::money::numeric)
  from walk w
  join pg_catalog.pg_attribute a on a.attrelid = pg_catalog.to_regclass($1) and a.attnum = w.attnum
  join pg_catalog.pg_type t on t.oid = w.typid
  left join pg_catalog.pg_collation co on co.oid = a.attcollation
 where t.typtype <> 'd'
 order by a.attnum, w.element
