-- A column that is there already (1060) is no failure of a migration: DDL commits by itself here.
-- Database and logical source of source tables: destination names may be made of them.
alter table lastword.feed add column source_database varchar(200) not null default ''
;
alter table lastword.feed add column source_server varchar(200) not null default ''
;
alter table lastword.topic_source add column source_database varchar(200) not null default ''
;
alter table lastword.topic_source add column source_server varchar(200) not null default ''
