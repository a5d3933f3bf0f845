insert into lastword.audit (at_ms, who, act, what, before_text, after_text) values ({now}, ?, ?, ?, ?, ?)
