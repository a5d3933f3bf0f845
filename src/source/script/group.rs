//! Who reads which partition.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use crate::core::record::TopicPartition;

/// Number of a member of a group.
pub type MemberId = u64;

/// What a member is told by its group.
#[derive(Debug)]
pub(super) enum Instruction {
    /// These are yours.
    Give(Vec<TopicPartition>),
    /// Let these go, and say so.
    TakeBack(Vec<TopicPartition>),
    /// Your session has ended: nothing is yours any more.
    Expelled,
}

/// A group: partitions are taken back before they are given to somebody else.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, mpsc::UnboundedSender<Instruction>>,
    owners: BTreeMap<TopicPartition, MemberId>,
    /// Who shall have it.
    wanted: BTreeMap<TopicPartition, MemberId>,
    /// Taken back, not let go yet.
    releasing: BTreeSet<TopicPartition>,
}

impl Group {
    pub(super) fn join(&mut self, id: MemberId, sender: mpsc::UnboundedSender<Instruction>, all: &[TopicPartition]) {
        self.members.insert(id, sender);
        self.rebalance(all);
    }

    pub(super) fn leave(&mut self, id: MemberId, all: &[TopicPartition]) {
        self.members.remove(&id);
        self.disown(id);
        self.rebalance(all);
    }

    pub(super) fn expel(&mut self, id: MemberId, all: &[TopicPartition]) {
        let Some(sender) = self.members.remove(&id) else { return };
        // A member that is gone does not hear it.
        let _ = sender.send(Instruction::Expelled);
        self.disown(id);
        self.rebalance(all);
    }

    fn disown(&mut self, id: MemberId) {
        let Self { owners, releasing, .. } = self;
        owners.retain(|at, owner| {
            let stays = *owner != id;
            if !stays {
                releasing.remove(at);
            }
            stays
        });
    }

    /// Spreads all partitions evenly.
    pub(super) fn rebalance(&mut self, all: &[TopicPartition]) {
        self.wanted.clear();
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        if !members.is_empty() {
            let spread = all.iter().enumerate().map(|(number, at)| (at.clone(), members[number % members.len()]));
            self.wanted.extend(spread);
        }
        self.settle();
    }

    pub(super) fn want(&mut self, at: &TopicPartition, id: MemberId) {
        if self.members.contains_key(&id) && self.wanted.contains_key(at) {
            self.wanted.insert(at.clone(), id);
            self.settle();
        }
    }

    pub(super) fn released(&mut self, id: MemberId, partitions: &[TopicPartition]) {
        for at in partitions.iter().filter(|at| self.owners.get(*at) == Some(&id)).cloned().collect::<Vec<_>>() {
            self.owners.remove(&at);
            self.releasing.remove(&at);
        }
        self.settle();
    }

    /// Takes back what somebody else shall have, and gives what is free.
    fn settle(&mut self) {
        let (mut given, mut taken) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (at, wanted) in &self.wanted {
            match self.owners.get(at) {
                None => {
                    self.owners.insert(at.clone(), *wanted);
                    given.entry(*wanted).or_default().push(at.clone());
                }
                Some(owner) if owner != wanted && self.releasing.insert(at.clone()) => {
                    taken.entry(*owner).or_default().push(at.clone());
                }
                Some(_) => {}
            }
        }
        for (id, partitions) in taken {
            self.tell(id, Instruction::TakeBack(partitions));
        }
        for (id, partitions) in given {
            self.tell(id, Instruction::Give(partitions));
        }
    }

    fn tell(&self, id: MemberId, instruction: Instruction) {
        if let Some(member) = self.members.get(&id) {
            // One that is gone is expelled sooner or later.
            let _ = member.send(instruction);
        }
    }
}
