select pg_terminate_backend(pid, 2000)
  from pg_stat_activity
 where pid = $1
   and (extract(epoch from backend_start) * 1000000)::int8 = $2
   and left(application_name, 9) = 'lastword/'
   and pid <> pg_backend_pid()
