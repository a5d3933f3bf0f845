-- Least rights on MySQL and MariaDB where lastword makes and extends tables itself (create = true). `app` is the destination
-- database and `lastword` the account: replace them before an administrator runs this. In a database's name `_` and `%` are
-- patterns here and have to be escaped: `my\_app`.
--
-- Where all tables exist already and nothing may be altered, use mysql-strict.sql.

-- Locked until it has a password, so that it is never open:
--   ALTER USER 'lastword'@'%' IDENTIFIED BY '…' REQUIRE SSL ACCOUNT UNLOCK;
CREATE USER IF NOT EXISTS 'lastword'@'%' ACCOUNT LOCK;

-- There are no schemas inside a database, so the bookkeeping lies beside the tables under the prefix `lastword_`, and rights
-- cannot be given by prefix. No DROP and no GRANT OPTION. (ALTER alone does not allow a TRUNCATE, which needs DROP.)
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `app`.* TO 'lastword'@'%';

-- Ending the own former session (a takeover) needs no further right: an account may always end its own.
