-- The strict variant for PostgreSQL: named tables that exist already, their rows and nothing else (create = false,
-- evolve = "none"). To be run by an administrator in the destination database:
--
--   psql -d app -v role=lastword -v schema=public -v tables='public.customers, public.orders' -f deploy/rights/postgres-strict.sql
--
-- Each table needs its token column before lastword starts (ALTER TABLE … ADD COLUMN _lastword_token bytea; with
-- delete = "soft" also _lastword_deleted boolean), or token_storage = "side".
\set ON_ERROR_STOP on
\if :{?role}
\else
\set role lastword
\endif
\if :{?schema}
\else
\set schema public
\endif
\if :{?tables}
\else
DO $$ BEGIN RAISE EXCEPTION 'which tables? Give -v tables=''public.customers, public.orders'''; END $$;
\endif

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO :"role";

-- Its own schema is still its own: checkpoints, tombstones and quarantine live there.
SELECT format('CREATE SCHEMA lastword AUTHORIZATION %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'lastword') \gexec

REVOKE CREATE ON SCHEMA :"schema" FROM :"role";
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE :tables TO :"role";

COMMIT;

-- Up to PostgreSQL 14 everybody may create tables in `public`: REVOKE CREATE ON SCHEMA public FROM PUBLIC;
