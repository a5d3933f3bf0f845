-- Collecting tombstones, and the sweep after a snapshot. A table's floor_version rises whenever its floors change.
alter table lastword.table_state add column floor_version integer not null default 0
;
create table if not exists lastword.collection_floor (
    table_name text not null,
    scope integer not null,
    token blob not null,
    primary key (table_name, scope)
) strict
;
create table if not exists lastword.tombstone_generation (
    table_name text not null,
    generation integer not null,
    opened_ms integer not null,
    closed_ms integer not null,
    ends text not null,
    state text not null,
    collected integer not null default 0,
    primary key (table_name, generation)
) strict
;
create table if not exists lastword.feed (
    pipeline text not null,
    id text not null,
    topic text not null,
    source_schema text,
    source_table text not null,
    table_name text not null,
    primary key (pipeline, id)
) strict
;
create table if not exists lastword.sweep (
    table_name text not null,
    topic text not null,
    token blob not null,
    incarnation text not null,
    snapshot_position integer not null,
    marked_ms integer not null,
    ends text,
    state text not null,
    removed integer not null default 0,
    primary key (table_name, topic, token)
) strict
