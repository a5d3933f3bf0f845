select id from lastword.scope where description = ?
