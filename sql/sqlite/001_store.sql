-- Bookkeeping of lastword, format 1. Columns that end in _ms are milliseconds since 1970 by the database's clock.
create table if not exists lastword.meta (
    name text not null primary key,
    value text not null
) strict
;
create table if not exists lastword.checkpoint (
    pipeline text not null,
    topic text not null,
    partition_id integer not null,
    incarnation text not null,
    next_offset integer not null,
    fence integer not null,
    owner text not null,
    session text,
    open_delete blob,
    source_time_ms integer,
    changes integer not null default 0,
    filtered integer not null default 0,
    quarantined integer not null default 0,
    control integer not null default 0,
    updated_ms integer not null,
    primary key (pipeline, topic, partition_id)
) strict
;
create table if not exists lastword.replay (
    id integer not null primary key,
    pipeline text not null,
    ranges text not null,
    repair integer not null,
    state text not null,
    records integer not null default 0,
    applied integer not null default 0,
    superseded integer not null default 0,
    quarantined integer not null default 0,
    who text not null,
    started_ms integer not null,
    updated_ms integer not null
) strict
;
create table if not exists lastword.ledger (
    topic text not null,
    incarnation text not null,
    partition_id integer not null,
    kind text not null,
    first_offset integer not null,
    value integer not null,
    primary key (topic, incarnation, partition_id, kind, first_offset)
) strict
;
create table if not exists lastword.scope (
    id integer not null primary key,
    description text not null unique
) strict
;
create table if not exists lastword.table_state (
    table_name text not null primary key,
    truncate_token blob,
    contract text not null,
    delete_mode text not null,
    token_storage text not null,
    created_ms integer not null
) strict
;
create table if not exists lastword.table_counter (
    pipeline text not null,
    table_name text not null,
    applied integer not null default 0,
    superseded_in_batch integer not null default 0,
    superseded_by_row integer not null default 0,
    superseded_by_tombstone integer not null default 0,
    superseded_by_truncate integer not null default 0,
    recheck_deleted integer not null default 0,
    tombstones integer not null default 0,
    primary key (pipeline, table_name)
) strict
;
create table if not exists lastword.quarantine (
    id integer primary key autoincrement,
    pipeline text not null,
    topic text not null,
    incarnation text not null,
    partition_id integer not null,
    record_offset integer not null,
    record_time_ms integer,
    key_bytes blob,
    value_bytes blob,
    headers blob not null,
    table_name text,
    token blob,
    reason text not null,
    detail text not null,
    state text not null,
    tries integer not null,
    first_ms integer not null,
    last_ms integer not null,
    unique (pipeline, topic, incarnation, partition_id, record_offset)
) strict
;
create table if not exists lastword.audit (
    id integer primary key autoincrement,
    at_ms integer not null,
    who text not null,
    act text not null,
    what text not null,
    before_text text,
    after_text text
) strict
