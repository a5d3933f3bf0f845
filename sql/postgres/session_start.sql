select pg_backend_pid(),
       (extract(epoch from backend_start) * 1000000)::int8,
       current_setting('server_version_num')::int4,
       current_setting('server_version')
  from pg_stat_activity
 where pid = pg_backend_pid()
