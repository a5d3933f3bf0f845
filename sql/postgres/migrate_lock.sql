-- A number of our own; held until the transaction ends.
select pg_advisory_xact_lock(7809071220131) is not null
