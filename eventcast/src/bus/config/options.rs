//! From what was said about a bus to what it does: which place wins, the rules between two
//! options, and what is drawn at random.
//!
//! Contract: pure. Variables and random numbers come in as arguments, so that a test can give
//! them; a file with a passphrase in it alone is read here. Whoever gets [`Options`] checks nothing again.

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::Path};

#[cfg(feature = "repl")]
use super::Setting;
use super::secret::Secret;
use super::{Config, ConfigError, ConfigLayer, GroupAddress, UnknownVariable, Variables};

pub(crate) use super::Options;

/// The ports that IANA gives to nobody, out of which a random one is drawn (RFC 6335, section 6).
const FIRST_RANDOM_PORT: u16 = 49_152;

/// What was said in each of the places.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) builder: Config,
    pub(crate) environment: Variables,
    pub(crate) file: Config,
}

impl Layers {
    /// The options of the bus: the builder's before the environment's before the file's before
    /// the defaults; and what there is to warn about. A wrong value is an error if it counts.
    ///
    /// `random` is asked at most once, for the port.
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
            // One that was asked for is not warned about.
            if self.best("port").is_none() {
                warnings.push(nobody_else_draws(options.port));
            }
        }
        Ok((options, warnings))
    }

    /// Why the value of an option that was given in this place does not count. `None`: it does.
    fn overriding(&self, option: &str, rank: usize) -> Option<String> {
        let better = |other: &str| self.best(other).filter(|best| *best < rank);
        if let Some(best) = better(option) {
            let place = self.by_rank()[best].1.describe();
            return Some(format!("the {place} gives another value"));
        }
        // The better place counts of two options that say the same.
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

    /// The best place where an option is given, rightly or not.
    fn best(&self, option: &str) -> Option<usize> {
        let layers = self.by_rank();
        layers.iter().position(|(config, _)| config.gives(option))
    }

    /// Whether the group that counts names its interface.
    fn group_names_interface(&self) -> bool {
        let layers = self.by_rank();
        let best = self.best("multicast_membership");
        let group = best.and_then(|at| layers[at].0.multicast_membership.as_deref());
        let group = group.and_then(GroupAddress::parse);
        group.is_some_and(|group| group.zone.is_some())
    }

    /// Whether what is sent is to be sealed, by whatever key.
    fn asks_for_seal(&self) -> bool {
        let layers = self.by_rank();
        let is_given = |option| self.best(option).is_some();
        let is_classic = self
            .best("classic_cipher")
            .is_some_and(|at| layers[at].0.classic_cipher == Some(true));
        !is_classic && (is_given("passphrase") || is_given("passphrase_file"))
    }

    /// Whether a console is asked for, whatever its options are.
    fn asks_for_repl(&self) -> bool {
        let layers = self.by_rank();
        let switch = self.best("repl");
        let is_on = switch.is_some_and(|at| layers[at].0.repl != Some(false));
        // Nobody asks for one by what a container manager makes.
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

    /// Where the value came from that won; nowhere: it is the default.
    fn layer(&self, is_given: impl Fn(&Config) -> bool) -> Option<ConfigLayer> {
        let layers = self.by_rank();
        layers
            .iter()
            .find(|(config, _)| is_given(config))
            .map(|(_, layer)| *layer)
    }

    /// Held bytes have room for two of the largest messages.
    fn check_held_bytes(&self, options: &Options) -> Result<(), ConfigError> {
        let (held, message) = (options.max_held_bytes, options.max_message_size);
        if held / 2 >= message {
            return Ok(());
        }
        let held_layer = self.layer(|config| config.max_held_bytes.is_some());
        let message_layer = self.layer(|config| config.max_message_size.is_some());
        // A default is never at fault, only what was said.
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

    /// All sockets of a bus have the family of the group.
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

    /// The interface is named once. In a better place the group's own counts.
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

    /// The passphrase is given itself or in a file, and the better place wins.
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

    /// The classic cipher has a passphrase to take its key from, and is built in.
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

    /// There is a console if one was asked for, and it is neither open to the network by accident nor left out of the
    /// program.
    fn settle_repl(&self, options: &mut Options) -> Result<(), ConfigError> {
        let layers = self.by_rank();
        let rank =
            |is_given: fn(&Config) -> bool| layers.iter().position(|(config, _)| is_given(config));
        let switch = rank(|config| config.repl.is_some());
        let port = rank(|config| config.repl_port.is_some());
        // The better place counts, and in one place the plain word.
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
            // Without one the console stays on this machine.
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

    /// What was sent last can be sent again, however large it is.
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

    /// A peer that says hello in time never counts as gone.
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

    /// A socket of the bus's own cannot share the group's port: the system would give a datagram
    /// to any of those that have it.
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

/// What arguments may take in memory as values, in times of `max_message_size`: an array of int32 of the largest size
/// takes this much, and more than that is seldom meant.
const ARGS_MEMORY_FACTOR: usize = 10;

/// What they may take in any case: nothing to worry about, and much more than a small message can honestly hold.
const MIN_ARGS_MEMORY: usize = 16 << 20;

impl Options {
    /// The group and its port.
    pub(crate) fn group(&self) -> SocketAddr {
        (self.multicast_membership.address, self.port).into()
    }

    /// How many bytes of memory the arguments of one event may take as values, for listeners without a type.
    pub(crate) fn args_memory(&self) -> usize {
        let most = self.max_message_size.saturating_mul(ARGS_MEMORY_FACTOR);
        most.max(MIN_ARGS_MEMORY)
    }

    /// The id for one start of the bus: the one that was given, else 16 lower-case hex digits of
    /// `random`, never all zeros. Without one a bus draws anew at each start.
    pub(crate) fn id_for_start(&self, random: impl FnOnce() -> u64) -> String {
        match &self.id {
            Some(id) => id.clone(),
            None => format!("{:016x}", random().max(1)),
        }
    }
}

fn nobody_else_draws(port: u16) -> String {
    format!(
        "no `port` was given, so this bus is on port {port}, which was drawn at random and which no other program will \
         draw: give the same `port` to all buses that shall meet, or 0 where a random one is meant"
    )
}

/// A port of 49,152 to 65,535 other than `taken`, each as likely.
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
