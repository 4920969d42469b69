//! What users hold: the bus, how it is configured, its listeners and the threads that drive it.

mod builder;
mod config;
mod options;

pub use builder::Builder;
pub use config::{Config, ConfigError, ConfigLayer, ListenerQueue, UnknownVariable};
