select id, at_ms, who, act, what, before_text, after_text from lastword.audit order by id desc limit ?
