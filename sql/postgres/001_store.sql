-- Bookkeeping of lastword, format 1. Columns that end in _ms are milliseconds since 1970 by the database's clock.
create table if not exists lastword.meta (
    name text collate "C" primary key,
    value text not null
)
;
create table if not exists lastword.checkpoint (
    pipeline text collate "C" not null,
    topic text collate "C" not null,
    partition_id integer not null,
    incarnation text collate "C" not null,
    next_offset bigint not null,
    fence bigint not null,
    owner text collate "C" not null,
    session text collate "C",
    open_delete bytea,
    source_time_ms bigint,
    changes bigint not null default 0,
    filtered bigint not null default 0,
    quarantined bigint not null default 0,
    control bigint not null default 0,
    updated_ms bigint not null,
    primary key (pipeline, topic, partition_id)
) with (fillfactor = 50)
;
create table if not exists lastword.replay (
    id bigint primary key,
    pipeline text collate "C" not null,
    ranges text not null,
    repair smallint not null,
    state text collate "C" not null,
    records bigint not null default 0,
    applied bigint not null default 0,
    superseded bigint not null default 0,
    quarantined bigint not null default 0,
    who text not null,
    started_ms bigint not null,
    updated_ms bigint not null
)
;
create table if not exists lastword.ledger (
    topic text collate "C" not null,
    incarnation text collate "C" not null,
    partition_id integer not null,
    kind text collate "C" not null,
    first_offset bigint not null,
    value bigint not null,
    primary key (topic, incarnation, partition_id, kind, first_offset)
)
;
create table if not exists lastword.scope (
    id integer primary key,
    description text collate "C" not null unique
)
;
create table if not exists lastword.table_state (
    table_name text collate "C" primary key,
    truncate_token bytea,
    contract text collate "C" not null,
    delete_mode text collate "C" not null,
    token_storage text collate "C" not null,
    created_ms bigint not null
)
;
create table if not exists lastword.table_counter (
    pipeline text collate "C" not null,
    table_name text collate "C" not null,
    applied bigint not null default 0,
    superseded_in_batch bigint not null default 0,
    superseded_by_row bigint not null default 0,
    superseded_by_tombstone bigint not null default 0,
    superseded_by_truncate bigint not null default 0,
    recheck_deleted bigint not null default 0,
    tombstones bigint not null default 0,
    primary key (pipeline, table_name)
) with (fillfactor = 50)
;
create table if not exists lastword.quarantine (
    id bigint generated always as identity primary key,
    pipeline text collate "C" not null,
    topic text collate "C" not null,
    incarnation text collate "C" not null,
    partition_id integer not null,
    record_offset bigint not null,
    record_time_ms bigint,
    key_bytes bytea,
    value_bytes bytea,
    headers bytea not null,
    table_name text collate "C",
    token bytea,
    reason text collate "C" not null,
    detail text not null,
    state text collate "C" not null,
    tries bigint not null,
    first_ms bigint not null,
    last_ms bigint not null,
    unique (pipeline, topic, incarnation, partition_id, record_offset)
)
;
create table if not exists lastword.audit (
    id bigint generated always as identity primary key,
    at_ms bigint not null,
    who text not null,
    act text collate "C" not null,
    what text not null,
    before_text text,
    after_text text
)
