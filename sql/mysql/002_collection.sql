-- A column that is there already (1060) is no failure of a migration: DDL commits by itself here.
-- Collecting tombstones, and the sweep after a snapshot. A table's floor_version rises whenever its floors change.
alter table lastword.table_state add column floor_version bigint not null default 0
;
create table if not exists lastword.collection_floor (
    table_name varchar(300) not null,
    scope integer not null,
    token varbinary(48) not null,
    primary key (table_name, scope)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.tombstone_generation (
    table_name varchar(300) not null,
    generation bigint not null,
    opened_ms bigint not null,
    closed_ms bigint not null,
    ends longtext not null,
    state varchar(20) not null,
    collected bigint not null default 0,
    primary key (table_name, generation)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.feed (
    pipeline varchar(200) not null,
    id varchar(16) not null,
    topic varchar(249) not null,
    source_schema varchar(200),
    source_table varchar(200) not null,
    table_name varchar(300) not null,
    primary key (pipeline, id)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.sweep (
    table_name varchar(300) not null,
    topic varchar(249) not null,
    token varbinary(48) not null,
    incarnation varchar(64) not null,
    snapshot_position bigint not null,
    marked_ms bigint not null,
    ends longtext,
    state varchar(20) not null,
    removed bigint not null default 0,
    primary key (table_name, topic, token)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
