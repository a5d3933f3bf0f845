-- Bookkeeping of lastword, format 1. Columns that end in _ms are milliseconds since 1970 by the database's clock.
-- Names are compared byte for byte: NO PAD binary collations, whose names differ between MySQL and MariaDB.
create table if not exists lastword.meta (
    name varchar(64) primary key,
    value longtext not null
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.checkpoint (
    pipeline varchar(200) not null,
    topic varchar(249) not null,
    partition_id integer not null,
    incarnation varchar(64) not null,
    next_offset bigint not null,
    fence bigint not null,
    owner varchar(200) not null,
    session varchar(200),
    open_delete longblob,
    source_time_ms bigint,
    changes bigint not null default 0,
    filtered bigint not null default 0,
    quarantined bigint not null default 0,
    control bigint not null default 0,
    updated_ms bigint not null,
    primary key (pipeline, topic, partition_id)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.replay (
    id bigint primary key,
    pipeline varchar(200) not null,
    ranges longtext not null,
    repair smallint not null,
    state varchar(20) not null,
    records bigint not null default 0,
    applied bigint not null default 0,
    superseded bigint not null default 0,
    quarantined bigint not null default 0,
    who longtext not null,
    started_ms bigint not null,
    updated_ms bigint not null
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.ledger (
    topic varchar(249) not null,
    incarnation varchar(64) not null,
    partition_id integer not null,
    kind varchar(32) not null,
    first_offset bigint not null,
    value bigint not null,
    primary key (topic, incarnation, partition_id, kind, first_offset)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.scope (
    id integer primary key,
    description varchar(500) not null unique
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.table_state (
    table_name varchar(300) primary key,
    truncate_token varbinary(48),
    contract varchar(20) not null,
    delete_mode varchar(20) not null,
    token_storage varchar(20) not null,
    created_ms bigint not null
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.table_counter (
    pipeline varchar(200) not null,
    table_name varchar(300) not null,
    applied bigint not null default 0,
    superseded_in_batch bigint not null default 0,
    superseded_by_row bigint not null default 0,
    superseded_by_tombstone bigint not null default 0,
    superseded_by_truncate bigint not null default 0,
    recheck_deleted bigint not null default 0,
    tombstones bigint not null default 0,
    primary key (pipeline, table_name)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.quarantine (
    id bigint not null auto_increment primary key,
    pipeline varchar(200) not null,
    topic varchar(249) not null,
    incarnation varchar(64) not null,
    partition_id integer not null,
    record_offset bigint not null,
    record_time_ms bigint,
    key_bytes longblob,
    value_bytes longblob,
    headers longblob not null,
    table_name varchar(300),
    token varbinary(48),
    reason varchar(64) not null,
    detail longtext not null,
    state varchar(20) not null,
    tries bigint not null,
    first_ms bigint not null,
    last_ms bigint not null,
    unique (pipeline, topic, incarnation, partition_id, record_offset)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.audit (
    id bigint not null auto_increment primary key,
    at_ms bigint not null,
    who longtext not null,
    act varchar(64) not null,
    what longtext not null,
    before_text longtext,
    after_text longtext
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
