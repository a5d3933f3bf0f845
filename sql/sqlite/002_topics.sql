-- Source tables whose rows came through a topic: what the key of a null value means after a restart.
create table if not exists lastword.topic_source (
    topic text not null,
    source_schema text not null,
    source_table text not null,
    by_source integer not null,
    primary key (topic, source_schema, source_table)
)
