-- Takes the store's one lock (until the transaction ends) without changing anything: numbers are handed out under it.
update lastword.meta set value = value where name = 'format'
