select max(id) from lastword.scope
