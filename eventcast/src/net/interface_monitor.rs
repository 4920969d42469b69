//! Which interfaces a bus is on, from its start to its stop: each is joined again when it comes
//! back, and left when it goes.
//!
//! Each interface has a group socket of its own. So there may be any number of them (Linux allows
//! 20 memberships a socket, `net.ipv4.igmp_max_memberships`), and a change of one does not disturb
//! the others.
//!
//! Contract: [`InterfaceMonitor::open`] fails unless the bus can receive and be received, as far as
//! the system can tell without sending anything. After that [`InterfaceMonitor::reconcile`]
//! compares the interfaces that exist with those that are wanted, and returns what to open and what
//! to close; it never fails, but may ask to be called again soon. The receiver and the transmitter
//! get the changes and carry them out.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use socket2::Socket;

use super::{
    error::{InterfaceError, OpenError, OpenWarning},
    inet6::{self, AddressState},
    interface::{Family, Inability, Interface, InterfaceChoice, Interfaces},
    joined_interface::{JoinedInterface, Obstacle},
    open::{filter_own, open_group, open_unicast},
    options::SocketOptions,
    self_filter::SelfFilter,
    sink::Egress,
};

/// The interfaces of a bus.
pub(super) struct InterfaceMonitor {
    options: SocketOptions,
    members: Vec<Member>,
    /// What the next socket is named by.
    next_id: u32,
    /// What the unicast socket is bound to.
    bound: SocketAddr,
    /// What the members were chosen by.
    basis: Basis,
    /// The number of the interface that was chosen by an address: it is followed when that changes.
    followed: Option<u32>,
    /// The system does not list its interfaces.
    is_unlisted: bool,
    /// What went wrong the last time, so that it is reported once.
    failures: Vec<String>,
    /// What there was to be warned about the last time, likewise.
    warned: Vec<String>,
}

/// What a choice of interfaces resolves to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Basis {
    /// The choice.
    #[default]
    Chosen,
    /// Where the route leads.
    Route,
    /// All that can do multicast, for want of a route to one that can.
    Every,
    /// The loopback interface, for want of any other.
    Loopback,
}

/// An interface on which the group has been joined.
struct Member {
    joined: JoinedInterface,
    egress: Egress,
}

/// A socket to be read from now on, and what names it.
pub(super) struct OpenedSocket {
    pub(super) id: u32,
    pub(super) socket: Socket,
}

/// What [`InterfaceMonitor::open`] opened.
pub(super) struct Opened {
    pub(super) groups: Vec<OpenedSocket>,
    pub(super) unicast: OpenedSocket,
    pub(super) warnings: Vec<OpenWarning>,
}

/// What [`InterfaceMonitor::reconcile`] changed.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) opened: Vec<OpenedSocket>,
    /// The ids of sockets to be closed, and what of their drops is none.
    pub(super) closed: Vec<(u32, Option<SelfFilter>)>,
    /// Takes the place of the unicast socket.
    pub(super) unicast: Option<OpenedSocket>,
    pub(super) events: Vec<InterfaceEvent>,
}

/// What a look at the interfaces brought that people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceEvent {
    /// The group was joined on this interface.
    Joined {
        /// Its name.
        name: String,
        /// The address that the bus has there.
        address: IpAddr,
    },
    /// The group was left on this interface.
    Left {
        /// Its name.
        name: String,
        /// The address that the bus used there.
        address: IpAddr,
        /// Why.
        reason: InterfaceLeftReason,
    },
    /// Something is not as it should be.
    Trouble(String),
}

/// Why a bus left an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceLeftReason {
    /// The interface was removed.
    Gone,
    /// It was taken down.
    Down,
    /// It no longer has the address that the bus used there.
    AddressGone,
    /// It can still be used, but `multicast_interface` resolves to another one now.
    NotChosen,
    /// The system refuses it, or reports that it can no longer do multicast.
    Refused,
}

impl fmt::Display for InterfaceLeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

impl InterfaceLeftReason {
    /// What follows the interface's name and the address there.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Gone => "has gone",
            Self::Down => "is down",
            Self::AddressGone => "has not this address any more",
            Self::NotChosen => "is not what `multicast_interface` comes to any more",
            Self::Refused => "cannot be used any more",
        }
    }
}

impl InterfaceMonitor {
    pub(super) fn open(options: SocketOptions) -> Result<(Self, Opened), OpenError> {
        let group = options.group;
        if !group.is_multicast() {
            return Err(OpenError::NotMulticast { group });
        }
        let interfaces = Interfaces::list().unwrap_or_else(Interfaces::unlisted);
        check_address(&options, &interfaces)?;
        let mut monitor = Self {
            bound: SocketAddr::new(options.family().any(), options.unicast_port),
            is_unlisted: interfaces.why_unlisted().is_some(),
            options,
            members: Vec::new(),
            next_id: 0,
            basis: Basis::default(),
            followed: None,
            failures: Vec::new(),
            warned: Vec::new(),
        };
        let reconciliation = Reconciliation::of(&monitor.options, &interfaces, &monitor)?;
        let first = reconciliation
            .steps
            .first()
            .map(|step| step.joined().clone());
        let address = unicast_address(&monitor.options, first.as_ref(), monitor.bound.port());
        let mut warnings = reconciliation.warnings;
        monitor.warned = warnings.iter().map(ToString::to_string).collect();
        monitor.failures = reconciliation
            .failed
            .iter()
            .map(OpenError::while_running)
            .collect();
        let left = reconciliation.failed.into_iter();
        warnings.extend(left.map(|error| OpenWarning::Left { error }));
        let unicast = open_unicast(&monitor.options, address, &mut warnings)?;
        monitor.bound = address;
        monitor.bound.set_port(port_of(&unicast)?);
        monitor.basis = reconciliation.basis;
        monitor.follow(first.as_ref());
        let groups = reconciliation
            .steps
            .into_iter()
            .filter_map(|step| match step {
                Step::New(joined, socket) => Some(monitor.admit(joined, socket)),
                Step::Kept(_) => None,
            })
            .collect();
        let unicast = OpenedSocket {
            id: monitor.take_id(),
            socket: unicast,
        };
        Ok((
            monitor,
            Opened {
                groups,
                unicast,
                warnings,
            },
        ))
    }

    /// Where datagrams to the group leave.
    pub(super) fn egress(&self) -> Vec<Egress> {
        self.members
            .iter()
            .map(|member| member.egress.clone())
            .collect()
    }

    /// The interfaces on which the bus is, each as `name (address)`.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let members = self.members.iter();
        members.map(|member| member.joined.to_string()).collect()
    }

    /// The address by which this bus alone is reached. `None`: by none for now.
    pub(super) fn unicast(&self) -> Option<SocketAddr> {
        let first = &self.members.first()?.joined;
        Some(first.socket_address(first.host, self.bound.port()))
    }

    /// Whether something that is wanted was not there the last time.
    pub(super) fn lacks_something(&self) -> bool {
        self.is_unlisted || !self.failures.is_empty() || self.members.is_empty()
    }

    /// Whether the system does not list its interfaces.
    pub(super) fn is_unlisted(&self) -> bool {
        self.is_unlisted
    }

    /// What the kernel counts among the drops of a group's socket although it is none.
    pub(super) fn self_filter(&self, id: u32) -> Option<&SelfFilter> {
        let member = self.members.iter().find(|member| member.egress.id == id)?;
        member.egress.self_filter.as_ref()
    }

    /// Compares what there is with what is wanted.
    pub(super) fn reconcile(&mut self) -> Changes {
        let mut changes = Changes::default();
        let listed = Interfaces::list();
        self.is_unlisted = listed.is_err();
        let interfaces = match listed {
            Ok(interfaces) => interfaces,
            // Without a list nothing speaks against what there is.
            Err(source) if !self.members.is_empty() => {
                let warning = OpenWarning::Unlisted { source }.to_string();
                if !self.warned.contains(&warning) {
                    self.warned.push(warning.clone());
                    changes.events.push(InterfaceEvent::Trouble(warning));
                }
                return changes;
            }
            Err(error) => Interfaces::unlisted(error),
        };
        let mut options = self.options.clone();
        let mut lost_address = None;
        if let Some(address) = options.address.filter(|own| !interfaces.has(*own)) {
            options.address = None;
            lost_address = Some(OpenWarning::AddressLost { address });
        }
        let mut reconciliation =
            Reconciliation::of(&options, &interfaces, self).unwrap_or_else(Reconciliation::failed);
        reconciliation.warnings.extend(lost_address);
        let mut failures: Vec<_> = reconciliation
            .failed
            .iter()
            .map(OpenError::while_running)
            .collect();

        self.leave(&reconciliation, &interfaces, &mut changes);
        let first = reconciliation
            .steps
            .first()
            .map(|step| step.joined().clone());
        for step in reconciliation.steps {
            match step {
                Step::New(joined, socket) => {
                    changes.events.push(InterfaceEvent::Joined {
                        name: joined.name.clone(),
                        address: joined.host,
                    });
                    let fresh = self.admit(joined, socket);
                    changes.opened.push(fresh);
                }
                // It may have got its name by now.
                Step::Kept(joined) => {
                    let mut members = self.members.iter_mut();
                    if let Some(member) = members.find(|member| member.joined.is_same(&joined)) {
                        member.egress.label = joined.to_string().into();
                        member.joined = joined;
                    }
                }
            }
        }
        if let Some(first) = &first
            && let Err(error) = self.rebind(&options, first, &mut changes)
        {
            failures.push(error.while_running());
        }
        if let Some(first) = &first
            && reconciliation.basis == Basis::Route
            && matches!(self.basis, Basis::Every | Basis::Loopback)
        {
            reconciliation.warnings.push(OpenWarning::RouteFound {
                group: options.group,
                interface: first.to_string(),
            });
        }
        if first.is_some() {
            self.basis = reconciliation.basis;
        }
        self.follow(first.as_ref());
        self.tell_warnings(&reconciliation.warnings, &mut changes);
        self.tell_failures(failures, &mut changes);
        changes
    }

    /// Leaves the interfaces that are no longer wanted.
    fn leave(
        &mut self,
        reconciliation: &Reconciliation,
        interfaces: &Interfaces,
        changes: &mut Changes,
    ) {
        self.members.retain(|member| {
            let joined = &member.joined;
            let mut steps = reconciliation.steps.iter();
            let stays = steps.any(|step| step.joined().is_same(joined));
            if !stays {
                changes
                    .closed
                    .push((member.egress.id, member.egress.self_filter.clone()));
                changes.events.push(InterfaceEvent::Left {
                    name: joined.name.clone(),
                    address: joined.host,
                    reason: why_left(joined, interfaces, !reconciliation.steps.is_empty()),
                });
            }
            stays
        });
    }

    /// Binds another unicast socket where the bus has another address now. The port stays.
    fn rebind(
        &mut self,
        options: &SocketOptions,
        first: &JoinedInterface,
        changes: &mut Changes,
    ) -> Result<(), OpenError> {
        let address = unicast_address(options, Some(first), self.bound.port());
        if address != self.bound {
            let socket = open_unicast(options, address, &mut Vec::new())?;
            self.bound = address;
            changes.unicast = Some(OpenedSocket {
                id: self.take_id(),
                socket,
            });
        }
        Ok(())
    }

    /// Remembers which interface the address that was chosen belongs to.
    fn follow(&mut self, first: Option<&JoinedInterface>) {
        let by_address = matches!(
            self.options.interface,
            InterfaceChoice::Address(_) | InterfaceChoice::Scoped(..)
        );
        if let Some(first) = first.filter(|first| by_address && first.index != 0)
            && self.basis == Basis::Chosen
        {
            self.followed = Some(first.index);
        }
    }

    fn tell_warnings(&mut self, warnings: &[OpenWarning], changes: &mut Changes) {
        let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let new = texts.iter().filter(|text| !self.warned.contains(text));
        changes
            .events
            .extend(new.cloned().map(InterfaceEvent::Trouble));
        self.warned = texts;
    }

    fn tell_failures(&mut self, failures: Vec<String>, changes: &mut Changes) {
        let new = failures.iter().filter(|text| !self.failures.contains(text));
        changes
            .events
            .extend(new.cloned().map(InterfaceEvent::Trouble));
        self.failures = failures;
    }

    fn admit(&mut self, joined: JoinedInterface, socket: Socket) -> OpenedSocket {
        let id = self.take_id();
        let self_filter = filter_own(&socket, &self.options, &joined, self.bound.port());
        self.members.push(Member {
            egress: Egress {
                id,
                label: joined.to_string().into(),
                host: joined.host,
                outgoing: joined.outgoing,
                cuts: joined.cuts,
                self_filter,
            },
            joined,
        });
        OpenedSocket { id, socket }
    }

    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// What is wanted at one moment, joined where it was not before.
#[derive(Default)]
struct Reconciliation {
    steps: Vec<Step>,
    basis: Basis,
    /// Interfaces that cannot be used.
    failed: Vec<OpenError>,
    /// What people should know about what was chosen.
    warnings: Vec<OpenWarning>,
}

enum Step {
    Kept(JoinedInterface),
    New(JoinedInterface, Socket),
}

impl Step {
    fn joined(&self) -> &JoinedInterface {
        match self {
            Self::Kept(joined) | Self::New(joined, _) => joined,
        }
    }
}

/// The input of one reconciliation.
struct Wanted<'a> {
    options: &'a SocketOptions,
    interfaces: &'a Interfaces,
    monitor: &'a InterfaceMonitor,
}

impl Reconciliation {
    fn of(
        options: &SocketOptions,
        interfaces: &Interfaces,
        monitor: &InterfaceMonitor,
    ) -> Result<Self, OpenError> {
        let mut reconciliation = Self::default();
        if let Some(source) = interfaces.why_unlisted() {
            reconciliation.warnings.push(OpenWarning::Unlisted {
                source: Arc::clone(source),
            });
        }
        let wanted = Wanted {
            options,
            interfaces,
            monitor,
        };
        match options.interface {
            InterfaceChoice::Default => reconciliation.take_default(&wanted)?,
            // The route is all that is known of IPv4 without a list.
            InterfaceChoice::All
                if interfaces.why_unlisted().is_some() && options.family() == Family::V4 =>
            {
                reconciliation.take_default(&wanted)?;
            }
            InterfaceChoice::All => {
                if let Some(reason) = reconciliation.take_all(&wanted)? {
                    reconciliation.take_loopback(&wanted, reason)?;
                }
            }
            _ => reconciliation.take_chosen(&wanted)?,
        }
        Ok(reconciliation)
    }

    fn failed(error: OpenError) -> Self {
        Self {
            failed: vec![error],
            ..Self::default()
        }
    }

    /// Where the route leads, if multicast can be done there; else every interface that can do it;
    /// else loopback.
    fn take_default(&mut self, wanted: &Wanted<'_>) -> Result<(), OpenError> {
        let by_route = JoinedInterface::by_route(wanted.options, wanted.interfaces);
        let reason = match by_route.map(|joined| (joined.index, wanted.join(joined))) {
            Ok((_, Ok(step))) => {
                self.steps.push(step);
                self.basis = Basis::Route;
                return Ok(());
            }
            // What is refused on one interface may do on another. A port that is taken is taken
            // there too.
            Ok((_, Err(OpenError::Join { source, .. }))) => Arc::clone(&source),
            Ok((_, Err(error))) => return Err(error),
            Err(obstacle) => Arc::new(obstacle.into_error()),
        };
        if self.take_all(wanted)?.is_some() {
            return self.take_loopback(wanted, reason);
        }
        self.basis = Basis::Every;
        let joined = self.steps.iter().map(|step| step.joined().to_string());
        self.warnings.push(OpenWarning::EveryInterface {
            group: wanted.options.group,
            reason,
            interfaces: joined.collect(),
        });
        Ok(())
    }

    /// Every interface that can do multicast. Gives why, if there is none.
    fn take_all(&mut self, wanted: &Wanted<'_>) -> Result<Option<Arc<io::Error>>, OpenError> {
        let able = wanted.interfaces.that_do_multicast(wanted.options.family());
        for interface in able {
            match wanted.join_at(interface, None) {
                Ok(step) => self.steps.push(step),
                Err(error) => self.failed.push(error),
            }
        }
        if !self.steps.is_empty() {
            return Ok(None);
        }
        // At a start it is better to wait for a moment than to be alone.
        let is_start = wanted.monitor.members.is_empty();
        if let Some(at) = self.failed.iter().position(OpenError::passes_soon)
            && is_start
        {
            return Err(self.failed.swap_remove(at));
        }
        match self.failed.last() {
            None => Ok(Some(Arc::new(none_does_multicast()))),
            Some(OpenError::Join { source, .. }) => Ok(Some(Arc::clone(source))),
            Some(error) if error.passes_soon() => Ok(Some(Arc::new(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                error.to_string(),
            )))),
            Some(error) => Err(error.clone()),
        }
    }

    /// The loopback interface, for want of any other.
    fn take_loopback(
        &mut self,
        wanted: &Wanted<'_>,
        reason: Arc<io::Error>,
    ) -> Result<(), OpenError> {
        let Wanted {
            options,
            interfaces,
            ..
        } = *wanted;
        let group = options.group;
        let loopback = JoinedInterface::loopback(options, interfaces);
        let refusal = match loopback.map(|joined| wanted.join(joined)) {
            Ok(Ok(step)) => {
                self.steps.push(step);
                self.basis = Basis::Loopback;
                self.warnings.push(OpenWarning::LoopbackOnly {
                    group,
                    reason,
                    others: interfaces.describe_unable(options.family()),
                });
                return Ok(());
            }
            Ok(Err(OpenError::Join { source, .. })) => source,
            Ok(Err(error)) => return Err(error),
            Err(obstacle) => Arc::new(obstacle.into_error()),
        };
        Err(OpenError::NoRoute {
            group,
            source: reason,
            loopback: refusal,
        })
    }

    /// The interface that was named.
    fn take_chosen(&mut self, wanted: &Wanted<'_>) -> Result<(), OpenError> {
        let Wanted {
            options,
            interfaces,
            monitor,
        } = *wanted;
        let label = options.interface.to_string();
        let family = options.family();
        let found = interfaces.find(&options.interface, family);
        if interfaces.why_unlisted().is_some() && found.is_err() {
            let joined = JoinedInterface::unlisted(options);
            if let Some(joined) = joined.map_err(|obstacle| wanted.refuse(&label, 0, obstacle))? {
                self.steps.push(wanted.join(joined)?);
                return Ok(());
            }
        }
        let followed = monitor.followed;
        let (interface, is_followed) = match found {
            Ok(found) => (found, false),
            // The given address no longer exists. The interface may have another one.
            Err(InterfaceError::NotOurs { .. }) if followed.is_some() => {
                let index = followed.unwrap_or_default();
                let other = interfaces.with_index(index, family);
                if other.is_none() {
                    found?;
                }
                (other, true)
            }
            Err(error) => return Err(error.into()),
        };
        let interface = interface.ok_or_else(|| OpenError::Join {
            group: options.group,
            interface: label,
            source: Arc::new(none_does_multicast()),
        })?;
        let chosen = match options.interface {
            InterfaceChoice::Address(IpAddr::V4(chosen)) if !is_followed => Some(chosen),
            _ => None,
        };
        let step = wanted.join_at(interface, chosen)?;
        if is_followed {
            self.warnings.push(OpenWarning::Followed {
                given: options.interface.to_string(),
                interface: step.joined().to_string(),
                name: interface.name.clone(),
            });
        }
        if interface.inability() == Some(Inability::NoMulticast) {
            self.warnings.push(OpenWarning::NoMulticast {
                interface: step.joined().to_string(),
                advice: Inability::NoMulticast.describe(&interface.name),
            });
        }
        self.steps.push(step);
        Ok(())
    }
}

impl Wanted<'_> {
    /// Joins at an interface, if that has not been done.
    fn join_at(&self, interface: &Interface, chosen: Option<Ipv4Addr>) -> Result<Step, OpenError> {
        let joined = JoinedInterface::of(self.options, interface, chosen)
            .map_err(|obstacle| self.refuse(&interface.to_string(), interface.index, obstacle))?;
        self.join(joined)
    }

    fn join(&self, joined: JoinedInterface) -> Result<Step, OpenError> {
        let mut members = self.monitor.members.iter();
        if members.any(|member| member.joined.is_same(&joined)) {
            return Ok(Step::Kept(joined));
        }
        let socket = open_group(self.options, &joined)?;
        Ok(Step::New(joined, socket))
    }

    /// What follows from a refusal.
    fn refuse(&self, label: &str, index: u32, obstacle: Obstacle) -> OpenError {
        let source = obstacle.into_error();
        let own = match self.options.address {
            Some(IpAddr::V6(own)) => Some(own),
            _ => None,
        };
        if source.kind() == io::ErrorKind::AddrNotAvailable
            && self.options.family() == Family::V6
            && let Some(unready) = inet6::unready(index, own)
        {
            return OpenError::AddressNotReady {
                is_duplicate: unready.state() == AddressState::Duplicate,
                address: unready.address.into(),
                interface: unready.name,
            };
        }
        if source.kind() == io::ErrorKind::AddrNotAvailable
            && self.interfaces.why_unlisted().is_some()
            && let InterfaceChoice::Address(address) = self.options.interface
        {
            let existing = self.interfaces.describe(self.options.family());
            return InterfaceError::NotOurs { address, existing }.into();
        }
        OpenError::Join {
            group: self.options.group,
            interface: label.to_owned(),
            source: Arc::new(source),
        }
    }
}

fn none_does_multicast() -> io::Error {
    io::Error::new(
        io::ErrorKind::NetworkUnreachable,
        "no interface that is up can do multicast",
    )
}

/// Why a member is no longer one, now that there are these interfaces.
fn why_left(
    joined: &JoinedInterface,
    interfaces: &Interfaces,
    others: bool,
) -> InterfaceLeftReason {
    let Some(link) = interfaces.link(joined.index) else {
        return InterfaceLeftReason::Gone;
    };
    let has_address = |one: &Interface| one.index == joined.index && one.address == joined.host;
    if link.name != joined.name {
        InterfaceLeftReason::Gone
    } else if !link.is_up {
        InterfaceLeftReason::Down
    } else if link.inability().is_some() {
        InterfaceLeftReason::Refused
    } else if !interfaces.any(has_address) {
        InterfaceLeftReason::AddressGone
    } else if others {
        InterfaceLeftReason::NotChosen
    } else {
        InterfaceLeftReason::Refused
    }
}

/// The option `address`, if it is given, is one of this machine.
fn check_address(options: &SocketOptions, interfaces: &Interfaces) -> Result<(), OpenError> {
    match options.address {
        Some(address) if !interfaces.has(address) => Err(OpenError::NotOurs {
            address,
            existing: interfaces.describe(options.family()),
        }),
        _ => Ok(()),
    }
}

/// What the unicast socket is bound to. Where one interface is chosen it is that one's address, so
/// that a bus which was to stay on this machine cannot be reached from elsewhere.
fn unicast_address(
    options: &SocketOptions,
    first: Option<&JoinedInterface>,
    port: u16,
) -> SocketAddr {
    let any = options.family().any();
    let address = match (options.address, first, &options.interface) {
        (Some(address), ..) => address,
        // Today's route may change tomorrow, and the port has to stay the same.
        (None, _, InterfaceChoice::Default | InterfaceChoice::All) | (None, None, _) => any,
        (None, Some(first), _) => first.host,
    };
    match first {
        Some(first) => first.socket_address(address, port),
        None => SocketAddr::new(address, port),
    }
}

fn port_of(socket: &Socket) -> Result<u16, OpenError> {
    let address = socket
        .local_addr()
        .map_err(OpenError::socket("read the port of the unicast socket"))?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}
