-- Source tables whose rows came through a topic: what the key of a null value means after a restart.
create table if not exists lastword.topic_source (
    topic varchar(249) not null,
    source_schema varchar(64) not null,
    source_table varchar(128) not null,
    by_source integer not null,
    primary key (topic, source_schema, source_table)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
