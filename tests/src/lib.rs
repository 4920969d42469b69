//! The harness of the tests: what every test of the package stands on, and no test itself.
//!
//! [`runner`] runs tests that say what they need; [`process`] gives one a process or a network
//! namespace of its own; [`group`] hands out multicast groups that nobody else uses; [`tap`]
//! records and sends datagrams, [`craft`] makes them from the wire document alone, without the
//! library, and [`seal`] seals and opens them; [`peer`] is a bus in another language; [`console`]
//! talks to a bus's console; [`wait`] waits for things to happen; [`world`] is a whole group of
//! buses on virtual time; [`fuzz`] has the functions that take any bytes at all. On Linux [`host`]
//! makes other machines, and [`cable`] lays a lossy cable between two of them.
//!
//! Everything stays on 127.0.0.1, and no test asserts how long anything took, only that it came
//! within a generous deadline.

#[cfg(target_os = "linux")]
pub mod cable;
pub mod console;
pub mod craft;
pub mod fuzz;
pub mod group;
#[cfg(target_os = "linux")]
pub mod host;
pub mod peer;
pub mod process;
pub mod runner;
pub mod seal;
pub mod tap;
pub mod wait;
pub mod world;
