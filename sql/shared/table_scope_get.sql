select t.scope, s.description from lastword.table_scope t join lastword.scope s on s.id = t.scope where t.table_name = ?
