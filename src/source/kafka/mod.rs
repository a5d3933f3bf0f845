//! Kafka source.

use crate::config::checked::KafkaConfig;
use crate::core::failure::Failure;
use crate::core::record::TopicPartition;

use super::{LogRange, ReadRange, SourceHandle, TopicInfo};

/// A Kafka source.
#[derive(Clone, Debug)]
pub struct KafkaSource {}

impl KafkaSource {
    /// Prepares the source.
    pub fn new(_config: &KafkaConfig, _pipeline: &str) -> Result<Self, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Source::topics`].
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Source::ranges`].
    pub async fn ranges(&self, _partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, LogRange)>, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Source::offset_at_time`].
    pub async fn offset_at_time(&self, _at: &TopicPartition, _time_ms: i64) -> Result<Option<i64>, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Source::run`].
    pub fn run(&self) -> Result<SourceHandle, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
    /// See [`super::Source::read`].
    pub fn read(&self, _ranges: Vec<ReadRange>) -> Result<SourceHandle, Failure> {
        Err(Failure::operator("stub", "stub"))
    }
}
