-- Events that were put aside, by the key that they change: later partial rows of the key are held back.
create table if not exists lastword.key_mark (
    pipeline text not null,
    topic text not null,
    incarnation text not null,
    partition_id integer not null,
    record_offset integer not null,
    table_name text not null,
    key_digest blob not null,
    token blob not null,
    primary key (pipeline, topic, incarnation, partition_id, record_offset)
) strict
;
create index if not exists lastword_key_mark_by_key on lastword.key_mark (table_name, key_digest)
;
-- Columns that are older than their row, for keys that met partial rows; valid while the row has this token.
create table if not exists lastword.open_column (
    table_name text not null,
    key_digest blob not null,
    token blob not null,
    opened blob not null,
    primary key (table_name, key_digest)
) strict
