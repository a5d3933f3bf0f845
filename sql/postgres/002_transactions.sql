-- How far the destination is consistent with each source, and which scope of tokens the rows of a table carry.
create table if not exists lastword.consistency (
    pipeline text collate "C" not null,
    source text collate "C" not null,
    consistent_to text,
    by_time bigint not null default 0,
    inside bigint not null default 0,
    updated_ms bigint not null,
    primary key (pipeline, source)
) with (fillfactor = 50)
;
create table if not exists lastword.table_scope (
    table_name text collate "C" primary key,
    scope integer not null
)
