-- DDL commits by itself in MySQL: a named lock of the session, one per database, names are limited to 64 characters.
select get_lock(concat('lastword_', md5(database())), 60)
