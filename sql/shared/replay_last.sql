select max(id) from lastword.replay
