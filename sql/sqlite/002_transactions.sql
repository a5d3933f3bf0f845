-- How far the destination is consistent with each source, and which scope of tokens the rows of a table carry.
create table if not exists lastword.consistency (
    pipeline text not null,
    source text not null,
    consistent_to text,
    by_time integer not null default 0,
    inside integer not null default 0,
    updated_ms integer not null,
    primary key (pipeline, source)
) strict
;
create table if not exists lastword.table_scope (
    table_name text primary key not null,
    scope integer not null
) strict
