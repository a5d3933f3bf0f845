-- Events that were put aside, by the key that they change: later partial rows of the key are held back.
create table if not exists lastword.key_mark (
    pipeline text collate "C" not null,
    topic text collate "C" not null,
    incarnation text collate "C" not null,
    partition_id integer not null,
    record_offset bigint not null,
    table_name text collate "C" not null,
    key_digest bytea not null,
    token bytea not null,
    primary key (pipeline, topic, incarnation, partition_id, record_offset)
)
;
create index if not exists key_mark_by_key on lastword.key_mark (table_name, key_digest)
;
-- Columns that are older than their row, for keys that met partial rows; valid while the row has this token.
create table if not exists lastword.open_column (
    table_name text collate "C" not null,
    key_digest bytea not null,
    token bytea not null,
    opened bytea not null,
    primary key (table_name, key_digest)
)
