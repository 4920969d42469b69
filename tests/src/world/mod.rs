//! A simulated world: many engines on virtual time, over a network that does whatever one seed
//! decides, and a checker of what is promised all the same.
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | from a seed to who takes part, what goes wrong, and who says what when |
//! | `simulation` | plays a plan; everything that happens goes into a history: `arrivals`, what reaches a member, `departures`, what comes out of it, `attacks`, what attackers bring |
//! | `network` | what becomes of a datagram on its way |
//! | `attacker` | somebody who has everything that was sent, and no key |
//! | `poser` | somebody who speaks in others' names |
//! | `bus` | an engine and its machine's clocks |
//! | `old_peer` | a peer of another make |
//! | `payload` | what events carry, so that the receiver needs no trust |
//! | `reading` | what a datagram is, read without the library |
//! | `sealed` | the same for sealed ones, and which of them a bus takes |
//! | `history` | what happened, as the checker reads it |
//! | `checker` | whether that keeps the promises; knows nothing of how it came about |
//! | `many` | many worlds, on all cores |
//! | `losses` | another, simple world: what repair costs, by loss and number of receivers |
//!
//! Nothing in it looks at a real clock or draws from another source than the seed: a seed gives the
//! same history on every machine.

mod attacker;
mod bus;
pub mod checker;
pub mod figures;
pub mod history;
pub mod losses;
pub mod many;
mod network;
mod old_peer;
mod payload;
pub mod plan;
mod poser;
mod random;
mod reading;
mod sealed;
mod simulation;

pub use simulation::play;
