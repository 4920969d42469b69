//! What opening sockets and sending can answer, in words that say what to set.
//!
//! The system's own errors are kept as the source, behind an `Arc`, so that every error here can
//! be cloned: one failure may go to several callers.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::errno;

/// Why the sockets of a bus could not be opened. Nothing stays open after it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The group is not a multicast address.
    #[error(
        "{group} is not a multicast group: set `multicast_membership` to an address between 224.0.0.0 and 239.255.255.255, or to one of IPv6 that begins with ff"
    )]
    #[non_exhaustive]
    NotMulticast {
        /// The address that was given.
        group: IpAddr,
    },
    /// The address to bind is neither the unspecified one nor one of this machine.
    #[error("`address` {address} is not an address of this machine: leave it out, or set one of {}", list(.existing))]
    #[non_exhaustive]
    NotOurs {
        /// The address that was given.
        address: IpAddr,
        /// The interfaces that there are, each as `name (address)`.
        existing: Vec<String>,
    },
    /// The interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A program that does not share the group's port has it.
    #[error(
        "port {port} is taken by a program that does not share it ({source}): stop that program, or set another `port` on every bus of the group"
    )]
    #[non_exhaustive]
    PortTaken {
        /// The port of the group.
        port: u16,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The fixed unicast port is taken. It cannot be shared: answers would reach the wrong process.
    #[error(
        "`unicast_port` {port} is taken ({source}): set one that is free, or 0 to let the system choose"
    )]
    #[non_exhaustive]
    UnicastPortTaken {
        /// The requested port.
        port: u16,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// This user may not use that port.
    #[error("no permission to use port {port} ({source}): set `{option}` to one of 1024 or above")]
    #[non_exhaustive]
    Permission {
        /// The requested port.
        port: u16,
        /// The option that sets it.
        option: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The system refused to join the group on the interface that was chosen, or to send there.
    #[error(
        "cannot use group {group} on interface {interface} ({source}){}",
        join_advice(.source, .group, .interface)
    )]
    #[non_exhaustive]
    Join {
        /// The group.
        group: IpAddr,
        /// The interface, as `name (address)`.
        interface: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// There is no route for multicast, and loopback could not be used either.
    #[error(
        "no route to group {group} ({source}), and loopback cannot be used either ({loopback}): set `multicast_interface` to an interface that is up{}",
        loopback_hint(.group, "(::1)")
    )]
    #[non_exhaustive]
    NoRoute {
        /// The group.
        group: IpAddr,
        /// The system's error for the route.
        source: Arc<io::Error>,
        /// The system's error for loopback.
        loopback: Arc<io::Error>,
    },
    /// The interface is there, but its IPv6 address cannot be used, or not yet: a new one is
    /// tentative for a second or two, while the link is asked whether another machine has it (RFC
    /// 4862, section 5.4). A bus that starts waits for that.
    #[error("{}", not_ready(.address, .interface, *.is_duplicate))]
    #[non_exhaustive]
    AddressNotReady {
        /// The address.
        address: IpAddr,
        /// The interface's name.
        interface: String,
        /// Another machine on the link has it, so that it never will be ready.
        is_duplicate: bool,
    },
    /// Any other refusal of the system.
    #[error("cannot {what} ({source}){}", socket_advice(.source))]
    #[non_exhaustive]
    Socket {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

impl OpenError {
    /// Whether trying again in a moment helps.
    pub(crate) fn passes_soon(&self) -> bool {
        matches!(
            self,
            Self::AddressNotReady {
                is_duplicate: false,
                ..
            }
        )
    }

    /// What it says of an interface that is tried again by itself, while the bus runs.
    pub(super) fn while_running(&self) -> String {
        match self {
            Self::AddressNotReady {
                address,
                interface,
                is_duplicate: false,
            } => format!(
                "{}: the group is joined there by itself when that is over",
                tentative(address, interface)
            ),
            _ => self.to_string(),
        }
    }

    /// For `map_err`: a refusal while doing `what`.
    pub(super) fn socket(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Socket {
            what,
            source: Arc::new(source),
        }
    }
}

/// Why an interface cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// The text is neither `default` nor `all`, nor an address, nor the name of an interface.
    #[error("`{text}` is not supported as `multicast_interface`{}: set \"default\", \"all\", an address of this machine, or the name of an interface", hint(.reason))]
    #[non_exhaustive]
    Unsupported {
        /// The text that was given.
        text: String,
        /// What it is instead.
        reason: &'static str,
    },
    /// No interface has that name.
    #[error("there is no interface `{name}`: set `multicast_interface` to one of {}", list(.existing))]
    #[non_exhaustive]
    NoSuchName {
        /// The name that was given.
        name: String,
        /// The interfaces that there are, each as `name (address)`.
        existing: Vec<String>,
    },
    /// The interface has no address of the group's family.
    #[error("interface `{name}` has no {family} address: give it one, or set `multicast_interface` to one of {}", list(.existing))]
    #[non_exhaustive]
    NoAddress {
        /// The name that was given.
        name: String,
        /// The family: IPv4 or IPv6.
        family: &'static str,
        /// The interfaces that there are, each as `name (address)`.
        existing: Vec<String>,
    },
    /// No interface of this machine has that address.
    #[error("no interface of this machine has the address {address}: set `multicast_interface` to one of {}", list(.existing))]
    #[non_exhaustive]
    NotOurs {
        /// The address that was given.
        address: IpAddr,
        /// The interfaces that there are, each as `name (address)`.
        existing: Vec<String>,
    },
}

/// What a bus should know about its sockets although they are open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub(crate) enum OpenWarning {
    /// There is no route for multicast, or it leads to an interface that cannot do that: the bus
    /// uses all that can.
    EveryInterface {
        /// The group.
        group: IpAddr,
        /// Why the route is not used.
        reason: Arc<io::Error>,
        /// Those that are used, each as `name (address)`.
        interfaces: Vec<String>,
    },
    /// No interface but loopback can be used: only this machine receives what the bus sends.
    LoopbackOnly {
        /// The group.
        group: IpAddr,
        /// Why the route is not used.
        reason: Arc<io::Error>,
        /// The other interfaces, and why they cannot be used.
        others: Vec<String>,
    },
    /// There is a route now, and the bus uses it alone.
    RouteFound {
        /// The group.
        group: IpAddr,
        /// Where it leads, as `name (address)`.
        interface: String,
    },
    /// The interface was chosen by name, and is used in spite of this.
    NoMulticast {
        /// The interface, as `name (address)`.
        interface: String,
        /// What is wrong with it, and what to do.
        advice: String,
    },
    /// The interface was chosen by an address that it has no more.
    Followed {
        /// What was given as `multicast_interface`.
        given: String,
        /// The interface now, as `name (address)`.
        interface: String,
        /// The interface's name.
        name: String,
    },
    /// The option `address` is no longer an address of this machine.
    AddressLost {
        /// The address.
        address: IpAddr,
    },
    /// The system does not list its interfaces.
    Unlisted {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The system does not report changes of interfaces, addresses and routes.
    Unwatched {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// One of several interfaces cannot be used; the others are.
    Left {
        /// Which, and why.
        error: OpenError,
    },
    /// The system made a buffer smaller than requested.
    BufferCapped {
        /// Which buffer.
        buffer: Buffer,
        /// Bytes requested.
        asked: usize,
        /// Bytes that the system gave.
        got: usize,
    },
}

/// A buffer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// Holds what arrived and was not read yet.
    Receive,
    /// Holds what was sent and has not left yet.
    Send,
}

impl Buffer {
    /// The option of the bus that sets it.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Receive => "receive_buffer",
            Self::Send => "send_buffer",
        }
    }

    /// The system's setting that bounds it.
    fn sysctl(self) -> &'static str {
        match self {
            _ if !cfg!(any(target_os = "linux", target_os = "android")) => "kern.ipc.maxsockbuf",
            Self::Receive => "net.core.rmem_max",
            Self::Send => "net.core.wmem_max",
        }
    }
}

impl fmt::Display for OpenWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryInterface {
                group,
                reason,
                interfaces,
            } => write!(
                f,
                "no usable route to group {group} ({reason}): using every interface that can do multicast, {}; set \
                 `multicast_interface` to the one that is meant, or to \"all\"{}",
                list(interfaces),
                if group.is_ipv4() {
                    ", or give the group a route (`ip route add 224.0.0.0/4 dev …`)"
                } else {
                    ""
                }
            ),
            Self::LoopbackOnly {
                group,
                reason,
                others,
            } => {
                write!(
                    f,
                    "no usable route to group {group} ({reason}): using loopback, so only this machine hears the bus; \
                     connect it to a network, or set `multicast_interface` to the loopback interface if that is meant"
                )?;
                if others.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({})", others.join("; "))
                }
            }
            Self::RouteFound { group, interface } => write!(
                f,
                "the route to group {group} leads to {interface} now: using it alone"
            ),
            Self::NoMulticast { interface, advice } => write!(
                f,
                "interface {interface} {advice}: it is used as `multicast_interface` says, and probably no other bus \
                 is reached there"
            ),
            Self::Followed {
                given,
                interface,
                name,
            } => write!(
                f,
                "no interface has the address {given} any more, which `multicast_interface` names: staying on the same \
                 one, now {interface}; set `multicast_interface` to \"{name}\" if its address may change"
            ),
            Self::AddressLost { address } => write!(
                f,
                "`address` {address} is not an address of this machine any more: using that of the interface until it \
                 comes back; leave `address` out if addresses may change"
            ),
            Self::Unlisted { source } => write!(
                f,
                "cannot list the interfaces of this machine ({source}), nor see when they change{}: an \
                 interface that `multicast_interface` names is used as it is, for \"all\" the one of the route; trying \
                 again each second",
                netlink_hint(source)
            ),
            Self::Unwatched { source } => write!(
                f,
                "cannot watch for changes of interfaces and routes ({source}){}: looking at them each second instead",
                netlink_hint(source)
            ),
            Self::Left { error } => {
                write!(f, "one interface is left out: {}", error.while_running())
            }
            Self::BufferCapped { buffer, asked, got } => {
                let (option, sysctl) = (buffer.option(), buffer.sysctl());
                write!(
                    f,
                    "`{option}`: asked for {asked} bytes, the system gave {got}: run `sysctl -w {sysctl}={asked}`"
                )
            }
        }
    }
}

/// Why a datagram could not be sent, and never will be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The datagram is longer than the system takes.
    #[error("a datagram of {len} bytes is too long to be sent to {to} ({source}): set a smaller `max_payload_size`{}", mtu_text(.mtu))]
    #[non_exhaustive]
    TooLong {
        /// Where it was to go.
        to: SocketAddr,
        /// Its length in bytes.
        len: usize,
        /// The MTU of the interface by which it leaves, in bytes, where it is known.
        mtu: Option<u32>,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The system refused for another reason, or for too long.
    #[error(
        "cannot send to {to}{} ({source}){}",
        by_interface(.interface),
        send_advice(.interface, .source)
    )]
    #[non_exhaustive]
    Refused {
        /// Where it was to go.
        to: SocketAddr,
        /// The interface by which it was to leave, as `name (address)`, or the last ones that there
        /// were. `None`: it was for one peer, and the route decides.
        interface: Option<String>,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

impl SendError {
    /// The interface by which it was to leave, as `name (address)`, where it was for the group.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::TooLong { .. } => None,
            Self::Refused { interface, .. } => interface.as_deref(),
        }
    }

    /// Whether the interface cannot be used; the datagram itself is not at fault then.
    pub(crate) fn is_about_interface(&self) -> bool {
        match self {
            Self::TooLong { .. } => false,
            Self::Refused { source, .. } => errno::is_about_interface(source),
        }
    }
}

fn by_interface(interface: &Option<String>) -> String {
    let by = |interface: &String| format!(" by interface {interface}");
    interface.as_ref().map(by).unwrap_or_default()
}

fn send_advice(interface: &Option<String>, source: &io::Error) -> &'static str {
    if interface.is_some() && errno::is_about_interface(source) {
        ": bring the interface up and give it an address, or set `multicast_interface` to one that is up"
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        ": a packet filter seems to forbid it"
    } else {
        ""
    }
}

/// Interfaces are listed and watched by sockets of a family that a service manager may forbid.
fn netlink_hint(error: &io::Error) -> &'static str {
    #[cfg(target_os = "linux")]
    if let Some(number) = error.raw_os_error()
        && [
            nix::errno::Errno::EAFNOSUPPORT as i32,
            nix::errno::Errno::EPERM as i32,
            nix::errno::Errno::EACCES as i32,
        ]
        .contains(&number)
    {
        return "; that takes sockets of the family AF_NETLINK, which seem to be forbidden here (systemd: add AF_NETLINK \
                to `RestrictAddressFamilies=`)";
    }
    let _ = error;
    ""
}

/// Advice where the system refuses to open one more file or socket. `None`: it is another error.
pub(crate) fn open_files_advice(error: &io::Error) -> Option<&'static str> {
    #[cfg(unix)]
    if let Some(number) = error.raw_os_error() {
        use nix::errno::Errno;
        if let Errno::EMFILE | Errno::ENFILE = Errno::from_raw(number) {
            return Some(
                "raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` of a service)",
            );
        }
    }
    let _ = error;
    None
}

fn join_advice(error: &io::Error, group: &IpAddr, interface: &str) -> String {
    match open_files_advice(error) {
        Some(advice) => format!(": {advice}"),
        None => format!(
            ": set `multicast_interface` to an interface that is up and can do multicast{}",
            loopback_hint(group, interface)
        ),
    }
}

fn socket_advice(error: &io::Error) -> String {
    if let Some(advice) = open_files_advice(error) {
        return format!(": {advice}");
    }
    forbidden_advice(error).to_owned()
}

fn forbidden_advice(error: &io::Error) -> &'static str {
    #[cfg(unix)]
    if let Some(number) = error.raw_os_error() {
        use nix::errno::Errno;
        match Errno::from_raw(number) {
            Errno::EAFNOSUPPORT => {
                return ": sockets of this family are forbidden or not there; let the service manager allow them \
                        (systemd: AF_INET and AF_INET6 in `RestrictAddressFamilies=`), or set `multicast_membership` \
                        to a group of the other family";
            }
            Errno::EPERM | Errno::EACCES => {
                return ": a sandbox or a security module seems to forbid it";
            }
            _ => {}
        }
    }
    let _ = error;
    ""
}

fn not_ready(address: &IpAddr, interface: &str, is_duplicate: bool) -> String {
    if is_duplicate {
        format!(
            "another machine on the link has the address {address} of interface {interface} too, so it cannot be used: \
             give the interface another (`ip -6 addr show dev {interface}` says `dadfailed`)"
        )
    } else {
        let tentative = tentative(address, interface);
        format!("{tentative}: start again when that is over, mostly after a second or two")
    }
}

fn tentative(address: &IpAddr, interface: &str) -> String {
    format!(
        "the address {address} of interface {interface} is tentative, while the link is asked whether another machine \
         has it (`ip -6 addr show dev {interface}`)"
    )
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "those that are up (there is none)".to_owned()
    } else {
        names.join(", ")
    }
}

/// What Linux lacks at first for IPv6 groups on its loopback interface.
fn loopback_hint(group: &IpAddr, interface: &str) -> &'static str {
    if group.is_ipv6() && interface.ends_with("(::1)") {
        ", and give the loopback interface a route for IPv6 groups if that is meant: `ip -6 route add local ff00::/8 dev lo table local`"
    } else {
        ""
    }
}

fn hint(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

fn mtu_text(mtu: &Option<u32>) -> String {
    mtu.map(|mtu| format!(" (the interface's MTU is {mtu})"))
        .unwrap_or_default()
}

#[cfg(all(test, unix))]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::net::errno::testing::os;

    #[test]
    fn a_running_bus_is_not_advised_to_start_again() {
        let not_ready = |is_duplicate| OpenError::AddressNotReady {
            address: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            interface: "eth0".into(),
            is_duplicate,
        };
        assert!(not_ready(false).to_string().contains("start again"));
        let error = not_ready(false);
        for text in [
            error.while_running(),
            OpenWarning::Left { error }.to_string(),
        ] {
            assert!(text.contains("tentative"), "{text}");
            assert!(text.contains("by itself"), "{text}");
            assert!(!text.contains("start again"), "{text}");
        }
        let duplicate = not_ready(true);
        assert_eq!(duplicate.while_running(), duplicate.to_string());
    }

    #[test]
    fn want_of_files_is_no_fault_of_the_interface() {
        let join = |errno| {
            OpenError::Join {
                group: [239, 1, 2, 3].into(),
                interface: "eth0 (10.0.0.1)".into(),
                source: Arc::new(os(errno)),
            }
            .to_string()
        };
        for errno in [Errno::EMFILE, Errno::ENFILE] {
            let text = join(errno);
            assert!(text.ends_with("`LimitNOFILE=` of a service)"), "{text}");
            assert!(!text.contains("multicast_interface"), "{text}");
        }
        assert!(join(Errno::ENODEV).contains("set `multicast_interface`"));
    }
}
