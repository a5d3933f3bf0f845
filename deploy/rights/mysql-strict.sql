-- The strict variant for MySQL and MariaDB: the rows of named tables, and the bookkeeping (create = false, evolve = "none").
-- Replace the database `app`, the account and the tables before an administrator runs this.
--
-- Each table needs its token column before lastword starts (with delete = "soft" also `_lastword_deleted` boolean), or
-- token_storage = "side":
--   ALTER TABLE app.customers ADD COLUMN _lastword_token varbinary(64);

-- ALTER USER 'lastword'@'%' IDENTIFIED BY '…' REQUIRE SSL ACCOUNT UNLOCK;
CREATE USER IF NOT EXISTS 'lastword'@'%' ACCOUNT LOCK;

-- The tables: one line each.
GRANT SELECT, INSERT, UPDATE, DELETE ON app.customers TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.orders TO 'lastword'@'%';

-- The bookkeeping. A right on a table that does not exist yet may be given where CREATE is part of it.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_migration TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_checkpoint TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_replay TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_source_epoch TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_table_state TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_quarantine TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_audit TO 'lastword'@'%';

-- One for each table above.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_tombstone_customers TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON app.lastword_tombstone_orders TO 'lastword'@'%';
