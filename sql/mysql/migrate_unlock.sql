select release_lock(concat('lastword_', md5(database())))
