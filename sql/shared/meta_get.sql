select value from lastword.meta where name = ?
