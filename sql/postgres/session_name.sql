select set_config('application_name', $1, false), set_config('lock_timeout', $2, false)
