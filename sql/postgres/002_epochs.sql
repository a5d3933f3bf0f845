-- Source epochs, and the greatest position of each partition's stream.
create table if not exists lastword.source_epoch (
    topic text collate "C" not null,
    incarnation text collate "C" not null,
    partition_id integer not null,
    ordinal integer not null,
    marker text collate "C" not null,
    first_offset bigint not null,
    first_number bigint,
    first_time_ms bigint,
    bound_number bigint,
    previous_top bigint,
    opened_by text not null,
    opened_ms bigint not null,
    primary key (topic, incarnation, partition_id, first_offset, marker)
)
;
alter table lastword.checkpoint add column if not exists top_token bytea
;
alter table lastword.checkpoint add column if not exists top_time_ms bigint
;
alter table lastword.checkpoint add column if not exists top_number bigint
;
alter table lastword.checkpoint add column if not exists top_offset bigint
;
insert into lastword.source_epoch (topic, incarnation, partition_id, ordinal, marker, first_offset, opened_by, opened_ms)
select topic, incarnation, partition_id, 1, 'snapshot ' || value, first_offset, 'run', {now}
from lastword.ledger where kind = 'snapshot_lsn'
;
delete from lastword.ledger where kind in ('snapshot_lsn', 'gtid_marker')
