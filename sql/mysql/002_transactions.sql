-- How far the destination is consistent with each source, and which scope of tokens the rows of a table carry.
create table if not exists lastword.consistency (
    pipeline varchar(200) not null,
    source varchar(300) not null,
    consistent_to longtext,
    by_time bigint not null default 0,
    inside bigint not null default 0,
    updated_ms bigint not null,
    primary key (pipeline, source)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
create table if not exists lastword.table_scope (
    table_name varchar(300) primary key,
    scope integer not null
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
