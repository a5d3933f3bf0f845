-- The collation of a column as a statement that changes its type has to say it again: nothing where it is its type's own.
-- $1 quoted name of the table, $2 name of the column
select case
           when a.attcollation = t.typcollation then ''
           else ' collate ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)
       end
from pg_catalog.pg_attribute as a
join pg_catalog.pg_type as t on t.oid = a.atttypid
left join pg_catalog.pg_collation as c on c.oid = a.attcollation
left join pg_catalog.pg_namespace as n on n.oid = c.collnamespace
where a.attrelid = pg_catalog.to_regclass($1) and a.attname = $2 and not a.attisdropped
