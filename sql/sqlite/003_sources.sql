-- Database and logical source of source tables: destination names may be made of them.
alter table lastword.feed add column source_database text not null default ''
;
alter table lastword.feed add column source_server text not null default ''
;
alter table lastword.topic_source add column source_database text not null default ''
;
alter table lastword.topic_source add column source_server text not null default ''
