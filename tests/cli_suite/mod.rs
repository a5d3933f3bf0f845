//! The program as an operator meets it: commands, exit codes, what is printed, and what it leaves in the destination.

mod adopt;
mod check;
mod contracts;
mod epochs;
mod forms;
mod framed;
mod keys;
mod names;
mod naming;
mod offsets;
mod on_services;
mod quarantine;
mod service;
mod sources;
mod tombstones;
mod unrepresentable;
