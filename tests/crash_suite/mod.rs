//! What happens when processes, connections and servers die, partitions move, and the log is read again: real processes
//! against real servers.

mod on_services;
mod traffic;
