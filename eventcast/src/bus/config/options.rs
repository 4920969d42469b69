//! Resolves the layers to the options of a bus: precedence, rules between two options, and random
//! values.
//!
//! Contract: pure, except that it reads the file with a passphrase. Variables and random numbers
//! are arguments, so that a test can set them. [`Options`] are checked and need no further check.

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::Path};

#[cfg(feature = "repl")]
use super::Setting;
use super::{
    Config, ConfigError, ConfigLayer, GroupAddress, UnknownVariable, Variables, secret::Secret,
};

pub(crate) use super::Options;

/// The first of the dynamic ports, which IANA does not assign (RFC 6335, section 6). A random port
/// is one of them.
const FIRST_RANDOM_PORT: u16 = 49_152;

/// The options of each layer.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) builder: Config,
    pub(crate) environment: Variables,
    pub(crate) file: Config,
}

impl Layers {
    /// The options of the bus and the warnings. The builder overrides the environment, that the
    /// file, and that the defaults. A wrong value is an error if it takes effect.
    ///
    /// `random` is called at most once, for the port.
    pub(crate) fn resolve(
        &self,
        random: impl FnOnce() -> u64,
    ) -> Result<(Options, Vec<String>), ConfigError> {
        let mut warnings = UnknownVariable::describe(&self.environment.unknown);
        let mut all = Config::default();
        for (rank, (config, layer)) in self.by_rank().into_iter().enumerate() {
            let mut config = config.clone();
            let here = layer.describe();
            let replaced = config.replaced().0.into_iter();
            warnings.extend(replaced.map(|error| {
                format!("{error}; it has no effect, because the {here} gives another value")
            }));
            for error in config.all_wrong(layer) {
                let Some(overriding) = self.overriding(error.option(), rank) else {
                    return Err(error);
                };
                config.leave_out(error.option());
                warnings.push(format!("{error}; it has no effect, because {overriding}"));
            }
            all = all.or(config);
        }
        let mut options = Options::fill(&all, ConfigLayer::Builder)?;
        self.check_held_bytes(&options)?;
        self.check_history_bytes(&options)?;
        self.check_heartbeat(&options)?;
        self.check_ports(&options)?;
        self.check_family(&options)?;
        warnings.extend(self.check_zone(&options)?);
        self.settle_passphrase(&mut options, Secret::from_file)?;
        self.check_cipher(&options)?;
        self.settle_repl(&mut options)?;
        if options.port == 0 {
            options.port = random_port(random(), options.unicast_port);
            // A random port that was requested as port 0 needs no warning.
            if self.best("port").is_none() {
                warnings.push(random_port_warning(options.port));
            }
        }
        Ok((options, warnings))
    }

    /// Why the value of an option in this layer has no effect. `None`: it has.
    fn overriding(&self, option: &str, rank: usize) -> Option<String> {
        let better = |other: &str| self.best(other).filter(|best| *best < rank);
        if let Some(best) = better(option) {
            let place = self.by_rank()[best].1.describe();
            return Some(format!("the {place} gives another value"));
        }
        // Of two options with the same meaning, the one in the higher layer takes effect.
        let other = match option {
            "passphrase" => "passphrase_file",
            "passphrase_file" => "passphrase",
            "repl" => "repl_port",
            "multicast_interface" if self.group_names_interface() => "multicast_membership",
            "repl_port" | "repl_host" | "repl_token" if !self.asks_for_repl() => {
                return Some("there is no console".to_owned());
            }
            "key_salt" | "clock_tolerance" if !self.asks_for_seal() => {
                return Some("nothing is sealed".to_owned());
            }
            _ => return None,
        };
        better(other).map(|best| {
            let place = self.by_rank()[best].1.describe();
            format!("the {place} gives `{other}`")
        })
    }

    /// The highest layer in which an option is given, with a right or a wrong value.
    fn best(&self, option: &str) -> Option<usize> {
        let layers = self.by_rank();
        layers.iter().position(|(config, _)| config.gives(option))
    }

    /// Whether the group that takes effect names its interface.
    fn group_names_interface(&self) -> bool {
        let layers = self.by_rank();
        let best = self.best("multicast_membership");
        let group = best.and_then(|at| layers[at].0.multicast_membership.as_deref());
        let group = group.and_then(GroupAddress::parse);
        group.is_some_and(|group| group.zone.is_some())
    }

    /// Whether the bus is to be sealed, by any secret.
    fn asks_for_seal(&self) -> bool {
        let layers = self.by_rank();
        let is_given = |option| self.best(option).is_some();
        let is_classic = self
            .best("classic_cipher")
            .is_some_and(|at| layers[at].0.classic_cipher == Some(true));
        !is_classic && (is_given("passphrase") || is_given("passphrase_file"))
    }

    /// Whether the options request a console.
    fn asks_for_repl(&self) -> bool {
        let layers = self.by_rank();
        let switch = self.best("repl");
        let is_on = switch.is_some_and(|at| layers[at].0.repl != Some(false));
        // A variable that Kubernetes sets is no request.
        let mut links = self.environment.config.wrong.iter();
        let is_link = links.any(|error| error.option() == "repl_port" && error.is_service_link());
        let by_port = self.best("repl_port").is_some_and(|port| {
            let by_link = is_link && layers[port].1 == ConfigLayer::Environment;
            !by_link && switch.is_none_or(|switch| port < switch)
        });
        is_on || by_port
    }

    /// Every option, as the console shows it.
    #[cfg(feature = "repl")]
    pub(crate) fn settings(&self, options: &Options) -> Vec<Setting> {
        options.settings(self.by_rank())
    }

    fn by_rank(&self) -> [(&Config, ConfigLayer); 3] {
        [
            (&self.builder, ConfigLayer::Builder),
            (&self.environment.config, ConfigLayer::Environment),
            (&self.file, ConfigLayer::File),
        ]
    }

    /// The layer of the value that takes effect. `None`: it is the default.
    fn layer(&self, is_given: impl Fn(&Config) -> bool) -> Option<ConfigLayer> {
        let layers = self.by_rank();
        layers
            .iter()
            .find(|(config, _)| is_given(config))
            .map(|(_, layer)| *layer)
    }

    /// Checks that the held bytes have room for two of the largest messages.
    fn check_held_bytes(&self, options: &Options) -> Result<(), ConfigError> {
        let (held, message) = (options.max_held_bytes, options.max_message_size);
        if held / 2 >= message {
            return Ok(());
        }
        let held_layer = self.layer(|config| config.max_held_bytes.is_some());
        let message_layer = self.layer(|config| config.max_message_size.is_some());
        // The error names an option that the user has set, never a default.
        Err(match (held_layer, message_layer) {
            (None, Some(layer)) => {
                let allowed = format!(
                    "at most {} bytes, half of `max_held_bytes`, which is {held} by default: give both",
                    held / 2
                );
                ConfigError::new("max_message_size", layer, message.to_string(), allowed)
            }
            (layer, _) => {
                let allowed = format!(
                    "at least {} bytes, twice `max_message_size`, which is {message}",
                    message.saturating_mul(2)
                );
                let layer = layer.unwrap_or(ConfigLayer::Builder);
                ConfigError::new("max_held_bytes", layer, held.to_string(), allowed)
            }
        })
    }

    /// Checks that all addresses have the family of the group, as all sockets of a bus do.
    fn check_family(&self, options: &Options) -> Result<(), ConfigError> {
        let group = &options.multicast_membership;
        match options.address {
            Some(address) if address.is_ipv6() != group.address.is_ipv6() => {
                let layer = self.layer(|config| config.address.is_some());
                let allowed = format!("of the family of `multicast_membership`, which is {group}");
                Err(ConfigError::new(
                    "address",
                    layer.unwrap_or(ConfigLayer::Builder),
                    format!("{:?}", address.to_string()),
                    allowed,
                ))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the interface is named once. A group with an interface overrides
    /// `multicast_interface` of a lower layer.
    fn check_zone(&self, options: &Options) -> Result<Option<String>, ConfigError> {
        let interface = &options.multicast_interface;
        match &options.multicast_membership.zone {
            Some(zone) if interface != "default" && interface != zone => {
                let rank = self.best("multicast_interface");
                let layer = rank.map_or(ConfigLayer::Builder, |rank| self.by_rank()[rank].1);
                let allowed = format!("left out, or `{zone}`, which `multicast_membership` names");
                let shown = format!("{interface:?}");
                let error = ConfigError::new("multicast_interface", layer, shown, allowed);
                match self.best("multicast_membership") {
                    Some(group) if rank.is_some_and(|rank| group < rank) => Ok(Some(format!(
                        "{error}; it has no effect, because the {} gives a group with its interface",
                        self.by_rank()[group].1.describe()
                    ))),
                    _ => Err(error),
                }
            }
            _ => Ok(None),
        }
    }

    /// Takes the passphrase itself or from the file; of both, the one in the higher layer.
    fn settle_passphrase(
        &self,
        options: &mut Options,
        read: impl FnOnce(&Path) -> Result<Secret, String>,
    ) -> Result<(), ConfigError> {
        let Some(path) = &options.passphrase_file else {
            return Ok(());
        };
        let layers = self.by_rank();
        let rank =
            |is_given: fn(&Config) -> bool| layers.iter().position(|(config, _)| is_given(config));
        let text = rank(|config| config.passphrase.is_some());
        let Some(file) = rank(|config| config.passphrase_file.is_some()) else {
            return Ok(());
        };
        let error = |allowed| {
            let shown = format!("{:?}", path.display().to_string());
            ConfigError::new("passphrase_file", layers[file].1, shown, allowed)
        };
        match text {
            Some(text) if text < file => Ok(()),
            Some(text) if text == file => Err(error(
                "left out where `passphrase` is given too: keep one of them".to_owned(),
            )),
            _ => {
                options.passphrase = Some(read(path).map_err(error)?);
                Ok(())
            }
        }
    }

    /// Checks that the classic cipher has a passphrase for its key, and that the program is built
    /// with it.
    fn check_cipher(&self, options: &Options) -> Result<(), ConfigError> {
        if !options.classic_cipher {
            return Ok(());
        }
        let passphrase = options.passphrase.as_ref().and_then(Secret::as_passphrase);
        let allowed = if cfg!(not(feature = "classic")) {
            "false: this program is built without the feature `classic` of eventcast"
        } else if passphrase.is_none() {
            "false where there is no `passphrase`, which its key comes from"
        } else {
            return Ok(());
        };
        let layer = self.layer(|config| config.classic_cipher.is_some());
        let layer = layer.unwrap_or(ConfigLayer::Builder);
        let shown = options.classic_cipher.to_string();
        Err(ConfigError::new(
            "classic_cipher",
            layer,
            shown,
            allowed.to_owned(),
        ))
    }

    /// Decides whether there is a console. Checks that the program is built with it, and that it is
    /// not open to the network without a token.
    fn settle_repl(&self, options: &mut Options) -> Result<(), ConfigError> {
        let layers = self.by_rank();
        let rank =
            |is_given: fn(&Config) -> bool| layers.iter().position(|(config, _)| is_given(config));
        let switch = rank(|config| config.repl.is_some());
        let port = rank(|config| config.repl_port.is_some());
        // `repl` and `repl_port` of different layers: the higher one takes effect; of one layer:
        // `repl`.
        let by_port = port.filter(|&port| switch.is_none_or(|switch| port < switch));
        options.repl |= by_port.is_some();
        if !options.repl {
            return Ok(());
        }
        let (asked, at, shown) = match by_port {
            Some(at) => ("repl_port", at, options.repl_port.to_string()),
            None => ("repl", switch.unwrap_or_default(), "true".to_owned()),
        };
        if cfg!(not(feature = "repl")) {
            let allowed = if asked == "repl" { "false" } else { "left out" };
            let allowed =
                format!("{allowed}: this program is built without the feature `repl` of eventcast");
            return Err(ConfigError::new(asked, layers[at].1, shown, allowed));
        }
        let host = options.repl_host;
        if !host.is_loopback() && options.repl_token.is_none() {
            // Without a token the console has to be on the loopback interface.
            let layer = self.layer(|config| config.repl_host.is_some());
            return Err(ConfigError::missing(
                "repl_token",
                ("repl_host", layer.unwrap_or(ConfigLayer::Builder)),
                &host.to_string(),
                "others can reach a console there, and could use it",
            ));
        }
        Ok(())
    }

    /// Checks that the history has room for one of the largest messages, so that it can be sent
    /// again.
    fn check_history_bytes(&self, options: &Options) -> Result<(), ConfigError> {
        let (history, message) = (options.history_bytes, options.max_message_size);
        if history >= message {
            return Ok(());
        }
        let history_layer = self.layer(|config| config.history_bytes.is_some());
        let message_layer = self.layer(|config| config.max_message_size.is_some());
        Err(match (history_layer, message_layer) {
            (None, Some(layer)) => {
                let allowed = format!(
                    "at most {history} bytes, which is `history_bytes` by default: give both"
                );
                ConfigError::new("max_message_size", layer, message.to_string(), allowed)
            }
            (layer, _) => {
                let allowed = format!("at least {message} bytes, which is `max_message_size`");
                let layer = layer.unwrap_or(ConfigLayer::Builder);
                ConfigError::new("history_bytes", layer, history.to_string(), allowed)
            }
        })
    }

    /// Checks that a peer with timely hellos never times out.
    fn check_heartbeat(&self, options: &Options) -> Result<(), ConfigError> {
        let (heartbeat, timeout) = (options.heartbeat, options.peer_timeout);
        if heartbeat < timeout {
            return Ok(());
        }
        let heartbeat_layer = self.layer(|config| config.heartbeat.is_some());
        let timeout_layer = self.layer(|config| config.peer_timeout.is_some());
        Err(match (timeout_layer, heartbeat_layer) {
            (None, Some(layer)) => {
                let allowed =
                    format!("less than `peer_timeout`, which is {timeout:?} by default: give both");
                ConfigError::new("heartbeat", layer, format!("{heartbeat:?}"), allowed)
            }
            (layer, _) => {
                let allowed = format!("more than `heartbeat`, which is {heartbeat:?}");
                let layer = layer.unwrap_or(ConfigLayer::Builder);
                ConfigError::new("peer_timeout", layer, format!("{timeout:?}"), allowed)
            }
        })
    }

    /// Checks that the two ports differ: of sockets that share a port, the system delivers a
    /// unicast datagram to any one.
    fn check_ports(&self, options: &Options) -> Result<(), ConfigError> {
        let port = options.unicast_port;
        match self.layer(|config| config.unicast_port.is_some()) {
            Some(layer) if port != 0 && port == options.port => {
                let allowed = "another port than the group's `port`".to_owned();
                Err(ConfigError::new(
                    "unicast_port",
                    layer,
                    port.to_string(),
                    allowed,
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Memory that decoded arguments may take, in multiples of `max_message_size`: as much as an array
/// of int32 of the largest size.
const ARGS_MEMORY_FACTOR: usize = 10;

/// Memory that decoded arguments may take in any case: far more than a small honest message needs.
const MIN_ARGS_MEMORY: usize = 16 << 20;

impl Options {
    /// The group and its port.
    pub(crate) fn group(&self) -> SocketAddr {
        (self.multicast_membership.address, self.port).into()
    }

    /// The bytes of memory that the decoded arguments of one event may take, for listeners without
    /// a type.
    pub(crate) fn args_memory(&self) -> usize {
        let most = self.max_message_size.saturating_mul(ARGS_MEMORY_FACTOR);
        most.max(MIN_ARGS_MEMORY)
    }

    /// The id for one start of the bus: the configured one, else 16 lower-case hex digits of
    /// `random`, never all zeros. So a bus without a configured id has a new one at each start.
    pub(crate) fn id_for_start(&self, random: impl FnOnce() -> u64) -> String {
        match &self.id {
            Some(id) => id.clone(),
            None => format!("{:016x}", random().max(1)),
        }
    }
}

fn random_port_warning(port: u16) -> String {
    format!(
        "no `port` was given, so this bus is on port {port}, which was drawn at random and which no other program will \
         draw: give the same `port` to all buses that shall meet, or 0 where a random one is meant"
    )
}

/// A port of 49,152 to 65,535 other than `taken`, uniformly distributed.
fn random_port(random: u64, taken: u16) -> u16 {
    let count = u64::from(u16::MAX - FIRST_RANDOM_PORT) + 1;
    let port = FIRST_RANDOM_PORT + (random % count) as u16;
    if port != taken {
        port
    } else if port == u16::MAX {
        FIRST_RANDOM_PORT
    } else {
        port + 1
    }
}
