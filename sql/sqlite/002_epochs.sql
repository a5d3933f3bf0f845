-- Source epochs, and the greatest position of each partition's stream.
create table if not exists lastword.source_epoch (
    topic text not null,
    incarnation text not null,
    partition_id integer not null,
    ordinal integer not null,
    marker text not null,
    first_offset integer not null,
    first_number integer,
    first_time_ms integer,
    bound_number integer,
    previous_top integer,
    opened_by text not null,
    opened_ms integer not null,
    primary key (topic, incarnation, partition_id, first_offset, marker)
) strict
;
alter table lastword.checkpoint add column top_token blob
;
alter table lastword.checkpoint add column top_time_ms integer
;
alter table lastword.checkpoint add column top_number integer
;
alter table lastword.checkpoint add column top_offset integer
;
insert into lastword.source_epoch (topic, incarnation, partition_id, ordinal, marker, first_offset, opened_by, opened_ms)
select topic, incarnation, partition_id, 1, 'snapshot ' || value, first_offset, 'run', {now}
from lastword.ledger where kind = 'snapshot_lsn'
;
delete from lastword.ledger where kind in ('snapshot_lsn', 'gtid_marker')
