select id, pipeline, ranges from lastword.replay where state = 'running' order by id
