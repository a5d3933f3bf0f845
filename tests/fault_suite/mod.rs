//! Real faults: `lastword` processes between a real broker and real databases, of which anything may die, stop or be cut off at
//! any time, by a seeded schedule; and after each round the whole destination compared with what the source holds.
//!
//! | file | holds |
//! |---|---|
//! | `faults` | the kinds of faults, and schedules of them |
//! | `stage` | one destination with everything that surrounds it, and what was counted |
//! | `members` | faults that happen to a process of the group |
//! | `surroundings` | faults that happen to servers, connections and the disk; replays and rewinds beside the live work |
//! | `campaign` | rounds: write, injure, let settle, compare |
//! | `truth` | the comparison; what is wrong is told by the invariant (`src/lib.rs`) that it breaks |
//! | `watch` | what is looked at all the time: stored offsets and fences that go back |
//! | `report` | what was injected and seen, as the file that the manual shows |
//!
//! A fault is counted only if it was seen to hit: the process died of it, a message waited, a connection was cut. The harness
//! itself is tested by three programs that are broken on purpose (`on_services::broken`), which it has to catch.

mod campaign;
mod faults;
mod members;
mod on_services;
mod report;
mod stage;
mod surroundings;
mod truth;
mod watch;
