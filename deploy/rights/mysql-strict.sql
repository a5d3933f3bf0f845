-- The strict variant for MySQL and MariaDB: the rows of named tables, and a database of its own for the bookkeeping
-- (create = false). Replace the database `app`, the account and the tables before an administrator runs this.
--
-- The bookkeeping lies in the database that the sink's URL names, so here that is `lastword`, and tables are named in full:
--   [sink]    url = "mysql://lastword@127.0.0.1:3306/lastword"
--   [[table]] topic = "shop.app.customers"   into = "app.customers"
--
-- Each table needs its token column before lastword starts (with delete = "soft" also `_lastword_deleted` boolean not null
-- default false), or token_storage = "side":
--   ALTER TABLE app.customers ADD COLUMN _lastword_token varbinary(48);

-- ALTER USER 'lastword'@'%' IDENTIFIED BY '…' REQUIRE SSL ACCOUNT UNLOCK;
CREATE USER IF NOT EXISTS 'lastword'@'%' ACCOUNT LOCK;

-- The tables: one line each.
GRANT SELECT, INSERT, UPDATE, DELETE ON app.customers TO 'lastword'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON app.orders TO 'lastword'@'%';

-- The bookkeeping: tombstones are tables that appear with the tables that they belong to.
CREATE DATABASE IF NOT EXISTS lastword CHARACTER SET utf8mb4;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON lastword.* TO 'lastword'@'%';
