-- Source epochs, and the greatest position of each partition's stream. A column that is there already is passed over.
create table if not exists lastword.source_epoch (
    topic varchar(249) not null,
    incarnation varchar(64) not null,
    partition_id integer not null,
    ordinal integer not null,
    marker varchar(200) not null,
    first_offset bigint not null,
    first_number bigint,
    first_time_ms bigint,
    bound_number bigint,
    previous_top bigint,
    opened_by longtext not null,
    opened_ms bigint not null,
    primary key (topic, incarnation, partition_id, first_offset, marker)
) engine = InnoDB default character set utf8mb4
  /*!80017 collate utf8mb4_0900_bin */ /*M!100200 collate utf8mb4_nopad_bin */
;
alter table lastword.checkpoint add column top_token varbinary(48)
;
alter table lastword.checkpoint add column top_time_ms bigint
;
alter table lastword.checkpoint add column top_number bigint
;
alter table lastword.checkpoint add column top_offset bigint
;
insert ignore into lastword.source_epoch (topic, incarnation, partition_id, ordinal, marker, first_offset, opened_by, opened_ms)
select topic, incarnation, partition_id, 1, concat('snapshot ', value), first_offset, 'run', {now}
from lastword.ledger where kind = 'snapshot_lsn'
;
delete from lastword.ledger where kind in ('snapshot_lsn', 'gtid_marker')
