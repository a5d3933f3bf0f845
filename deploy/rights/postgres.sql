-- Least rights on PostgreSQL where lastword makes and extends tables itself (create = true). To be run by an administrator in
-- the destination database, as often as wanted:
--
--   psql -d app -v role=lastword -v schema=public -f deploy/rights/postgres.sql
--
-- The role gets no password here; afterwards: \password lastword
-- Where all tables exist already and nothing may be altered, use postgres-strict.sql.
\set ON_ERROR_STOP on
\if :{?role}
\else
\set role lastword
\endif
\if :{?schema}
\else
\set schema public
\endif

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

-- TEMPORARY: a batch is staged in a temporary table of the session.
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO :"role";

-- The bookkeeping. Made here, so that the role needs no CREATE on the database.
SELECT format('CREATE SCHEMA lastword AUTHORIZATION %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'lastword') \gexec

-- CREATE: missing tables. What the role makes it owns, and so may alter.
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"role";

-- Tables of the schema that are there already. No TRUNCATE: a truncate of the source is a DELETE here.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA :"schema" TO :"role";

COMMIT;

-- Altering a table (the token column, a new column) needs its ownership. For tables of another owner either let lastword be a
-- member of that role (GRANT owner TO lastword), or add the column yourself:
--   ALTER TABLE public.customers ADD COLUMN _lastword_token bytea;
-- or keep tokens beside the table: token_storage = "side".
