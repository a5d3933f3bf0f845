-- Collecting tombstones, and the sweep after a snapshot. A table's floor_version rises whenever its floors change.
alter table lastword.table_state add column if not exists floor_version bigint not null default 0
;
create table if not exists lastword.collection_floor (
    table_name text collate "C" not null,
    scope integer not null,
    token bytea not null,
    primary key (table_name, scope)
)
;
create table if not exists lastword.tombstone_generation (
    table_name text collate "C" not null,
    generation bigint not null,
    opened_ms bigint not null,
    closed_ms bigint not null,
    ends text not null,
    state text collate "C" not null,
    collected bigint not null default 0,
    primary key (table_name, generation)
)
;
create table if not exists lastword.feed (
    pipeline text collate "C" not null,
    id text collate "C" not null,
    topic text collate "C" not null,
    source_schema text collate "C",
    source_table text collate "C" not null,
    table_name text collate "C" not null,
    primary key (pipeline, id)
)
;
create table if not exists lastword.sweep (
    table_name text collate "C" not null,
    topic text collate "C" not null,
    token bytea not null,
    incarnation text collate "C" not null,
    snapshot_position bigint not null,
    marked_ms bigint not null,
    ends text,
    state text collate "C" not null,
    removed bigint not null default 0,
    primary key (table_name, topic, token)
)
