-- Database and logical source of source tables: destination names may be made of them.
alter table lastword.feed add column if not exists source_database text collate "C" not null default ''
;
alter table lastword.feed add column if not exists source_server text collate "C" not null default ''
;
alter table lastword.topic_source add column if not exists source_database text collate "C" not null default ''
;
alter table lastword.topic_source add column if not exists source_server text collate "C" not null default ''
