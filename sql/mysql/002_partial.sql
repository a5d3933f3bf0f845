-- Events that were put aside, by the key that they change: later partial rows of the key are held back.
create table if not exists lastword.key_mark (
    pipeline varchar(200) not null,
    topic varchar(249) not null,
    incarnation varchar(64) not null,
    partition_id integer not null,
    record_offset bigint not null,
    table_name varchar(300) not null,
    key_digest binary(32) not null,
    token varbinary(48) not null,
    primary key (pipeline, topic, incarnation, partition_id, record_offset),
    key key_mark_by_key (table_name, key_digest)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
-- Columns that are older than their row, for keys that met partial rows; valid while the row has this token.
create table if not exists lastword.open_column (
    table_name varchar(300) not null,
    key_digest binary(32) not null,
    token varbinary(48) not null,
    opened longblob not null,
    primary key (table_name, key_digest)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
