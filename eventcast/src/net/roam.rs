//! Which interfaces a bus is on, from its start to its stop: joined anew when one comes back, left
//! when it goes.
//!
//! Each interface has a group's socket of its own. So there may be any number of them (Linux takes
//! 20 memberships a socket, `net.ipv4.igmp_max_memberships`), and one that changes takes nothing
//! from the others.
//!
//! Contract: [`Roaming::open`] fails unless the bus can hear and be heard, as far as the system can
//! tell without sending anything. After that [`Roaming::look`] compares what there is with what is
//! wanted, and says what to open and what to close; it fails in nothing, but may say that it wants
//! to try again. Who reads and who sends is told what changed, and does it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use socket2::Socket;

use super::{
    echo::Echoes,
    error::{OpenError, OpenWarning},
    interface::{InterfaceChoice, Interfaces},
    open::{SocketOptions, filter_echoes, open_group, open_unicast},
    place::Place,
    sink::Way,
};

/// The interfaces of a bus.
pub(super) struct Roaming {
    options: SocketOptions,
    members: Vec<Member>,
    /// What the next socket is named by.
    next_id: u32,
    /// What the unicast socket is bound to.
    bound: SocketAddr,
    /// On loopback for want of anything else.
    fell_back: bool,
    /// What went wrong the last time, so that it is told once.
    failures: Vec<String>,
}

/// An interface on which the group has been joined.
struct Member {
    place: Place,
    way: Way,
}

/// A socket to be read from now on, and what names it.
pub(super) struct Fresh {
    pub(super) id: u32,
    pub(super) socket: Socket,
}

/// What [`Roaming::open`] opened.
pub(super) struct Opened {
    pub(super) groups: Vec<Fresh>,
    pub(super) unicast: Fresh,
    pub(super) warnings: Vec<OpenWarning>,
}

/// What [`Roaming::look`] changed.
#[derive(Default)]
pub(super) struct Look {
    pub(super) opened: Vec<Fresh>,
    /// The ids of sockets to be closed, and what of their drops is none.
    pub(super) closed: Vec<(u32, Option<Echoes>)>,
    /// Takes the place of the unicast socket.
    pub(super) unicast: Option<Fresh>,
    pub(super) news: Vec<News>,
    /// Something that is wanted is not there yet: look again soon.
    pub(super) again: bool,
}

/// What a look at the interfaces brought that people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The group was joined on this interface.
    Joined {
        /// Its name.
        name: String,
        /// The address that the bus has there.
        address: IpAddr,
    },
    /// The interface has gone, or its address.
    Left {
        /// Its name.
        name: String,
        /// The address that the bus had there.
        address: IpAddr,
    },
    /// Something is not as it should be.
    Trouble(String),
}

impl Roaming {
    pub(super) fn open(options: SocketOptions) -> Result<(Self, Opened), OpenError> {
        let group = options.group;
        if !group.is_multicast() {
            return Err(OpenError::NotMulticast { group });
        }
        let interfaces = Interfaces::list()?;
        check_address(&options, &interfaces)?;
        let round = Round::of(&options, &interfaces, &[])?;
        let first = round.steps.first().map(Step::place);
        let address = unicast_address(&options, first, options.unicast_port);
        let mut warnings: Vec<_> = round.fallback.into_iter().collect();
        let left = round.failed.iter().map(ToString::to_string).collect();
        warnings.extend(
            round
                .failed
                .into_iter()
                .map(|error| OpenWarning::Left { error }),
        );
        let unicast = open_unicast(&options, address, &mut warnings)?;
        let mut bound = address;
        bound.set_port(port_of(&unicast)?);
        let mut roaming = Self {
            fell_back: warnings
                .iter()
                .any(|warning| matches!(warning, OpenWarning::LoopbackOnly { .. })),
            options,
            members: Vec::new(),
            next_id: 0,
            bound,
            failures: left,
        };
        let groups = round
            .steps
            .into_iter()
            .filter_map(|step| match step {
                Step::New(place, socket) => Some(roaming.admit(place, socket)),
                Step::Kept(_) => None,
            })
            .collect();
        let unicast = Fresh {
            id: roaming.take_id(),
            socket: unicast,
        };
        Ok((
            roaming,
            Opened {
                groups,
                unicast,
                warnings,
            },
        ))
    }

    /// Where datagrams to the group leave.
    pub(super) fn ways(&self) -> Vec<Way> {
        self.members
            .iter()
            .map(|member| member.way.clone())
            .collect()
    }

    /// The address by which this bus alone is reached. `None`: by none for now.
    pub(super) fn unicast(&self) -> Option<SocketAddr> {
        let first = &self.members.first()?.place;
        Some(first.socket_address(first.host, self.bound.port()))
    }

    /// Whether something that is wanted was not there the last time.
    pub(super) fn lacks_something(&self) -> bool {
        !self.failures.is_empty() || self.members.is_empty()
    }

    /// What the kernel counts among the drops of a group's socket although it is none.
    pub(super) fn echoes(&self, id: u32) -> Option<&Echoes> {
        let member = self.members.iter().find(|member| member.way.id == id)?;
        member.way.echoes.as_ref()
    }

    /// Compares what there is with what is wanted.
    pub(super) fn look(&mut self) -> Look {
        let mut look = Look::default();
        let interfaces = match Interfaces::list() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                self.tell_failures(vec![error.to_string()], &mut look);
                return look;
            }
        };
        let have: Vec<_> = self
            .members
            .iter()
            .map(|member| member.place.clone())
            .collect();
        let round = Round::of(&self.options, &interfaces, &have).unwrap_or_else(Round::failed);
        let mut failures: Vec<_> = round.failed.iter().map(ToString::to_string).collect();

        self.members.retain(|member| {
            let stays = round.steps.iter().any(|step| *step.place() == member.place);
            if !stays {
                look.closed.push((member.way.id, member.way.echoes.clone()));
                look.news.push(News::Left {
                    name: member.place.name.clone(),
                    address: member.place.host,
                });
            }
            stays
        });
        let first = round.steps.first().map(|step| step.place().clone());
        for step in round.steps {
            if let Step::New(place, socket) = step {
                look.news.push(News::Joined {
                    name: place.name.clone(),
                    address: place.host,
                });
                let fresh = self.admit(place, socket);
                look.opened.push(fresh);
            }
        }
        if let Some(first) = &first
            && let Err(error) = self.rebind(first, &mut look)
        {
            failures.push(error.to_string());
        }
        if let (Some(warning), false) = (&round.fallback, self.fell_back) {
            look.news.push(News::Trouble(warning.to_string()));
        }
        self.fell_back = round.fallback.is_some();
        self.tell_failures(failures, &mut look);
        look
    }

    /// Binds another unicast socket where the bus has another address now. The port stays.
    fn rebind(&mut self, first: &Place, look: &mut Look) -> Result<(), OpenError> {
        let address = unicast_address(&self.options, Some(first), self.bound.port());
        if address != self.bound {
            let socket = open_unicast(&self.options, address, &mut Vec::new())?;
            self.bound = address;
            look.unicast = Some(Fresh {
                id: self.take_id(),
                socket,
            });
        }
        Ok(())
    }

    fn tell_failures(&mut self, failures: Vec<String>, look: &mut Look) {
        let new = failures.iter().filter(|text| !self.failures.contains(text));
        look.news.extend(new.cloned().map(News::Trouble));
        self.failures = failures;
        look.again = self.lacks_something();
    }

    fn admit(&mut self, place: Place, socket: Socket) -> Fresh {
        let id = self.take_id();
        let echoes = filter_echoes(&socket, &self.options, &place, self.bound.port());
        self.members.push(Member {
            way: Way {
                id,
                host: place.host,
                outgoing: place.outgoing,
                cuts: place.cuts,
                echoes,
            },
            place,
        });
        Fresh { id, socket }
    }

    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// What is wanted at one moment, joined where it had not been before.
#[derive(Default)]
struct Round {
    steps: Vec<Step>,
    /// Interfaces that cannot be used.
    failed: Vec<OpenError>,
    /// Loopback had to do.
    fallback: Option<OpenWarning>,
}

enum Step {
    Kept(Place),
    New(Place, Socket),
}

impl Step {
    fn place(&self) -> &Place {
        match self {
            Self::Kept(place) | Self::New(place, _) => place,
        }
    }
}

impl Round {
    fn of(
        options: &SocketOptions,
        interfaces: &Interfaces,
        have: &[Place],
    ) -> Result<Self, OpenError> {
        let join = |label: &str, place: io::Result<Place>| {
            let place = place.map_err(|source| OpenError::Join {
                group: options.group,
                interface: label.to_owned(),
                source: Arc::new(source),
            })?;
            if have.contains(&place) {
                return Ok(Step::Kept(place));
            }
            let socket = open_group(options, &place)?;
            Ok(Step::New(place, socket))
        };
        let mut round = Self::default();
        let refusal = match &options.interface {
            InterfaceChoice::Default => match join("default", Place::by_route(options, interfaces))
            {
                Ok(step) => {
                    round.steps.push(step);
                    return Ok(round);
                }
                Err(error) => error,
            },
            InterfaceChoice::All => {
                for interface in interfaces.that_do_multicast(options.family()) {
                    let cuts = interface.cuts_joined_datagrams();
                    let place = Place::of(options, interface, cuts);
                    match join(&interface.to_string(), place) {
                        Ok(step) => round.steps.push(step),
                        Err(error) => round.failed.push(error),
                    }
                }
                if !round.steps.is_empty() {
                    return Ok(round);
                }
                round.failed.pop().unwrap_or_else(|| no_interface(options))
            }
            one => {
                let found = interfaces.find(one, options.family())?;
                let interface = found.ok_or_else(|| no_interface(options))?;
                let cuts = interface.cuts_joined_datagrams();
                let place = Place::of(options, interface, cuts);
                round.steps.push(join(&interface.to_string(), place)?);
                return Ok(round);
            }
        };
        // What is refused on one network may still do on this machine. A port that is taken is
        // taken there too.
        let OpenError::Join { source: reason, .. } = refusal else {
            return Err(refusal);
        };
        let (group, family) = (options.group, options.family());
        match join("loopback", Place::loopback(options, interfaces)) {
            Ok(step) => {
                round.steps.push(step);
                round.fallback = Some(OpenWarning::LoopbackOnly {
                    group,
                    reason,
                    others: interfaces.describe_outer(family),
                });
                Ok(round)
            }
            Err(OpenError::Join { source, .. }) => Err(OpenError::NoRoute {
                group,
                source: reason,
                loopback: source,
            }),
            Err(error) => Err(error),
        }
    }

    fn failed(error: OpenError) -> Self {
        Self {
            failed: vec![error],
            ..Self::default()
        }
    }
}

fn no_interface(options: &SocketOptions) -> OpenError {
    OpenError::Join {
        group: options.group,
        interface: options.interface.to_string(),
        source: Arc::new(io::Error::new(
            io::ErrorKind::NetworkUnreachable,
            "no interface that is up can do multicast",
        )),
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
fn unicast_address(options: &SocketOptions, first: Option<&Place>, port: u16) -> SocketAddr {
    let any = options.family().any();
    let address = match (options.address, first, &options.interface) {
        (Some(address), ..) => address,
        // Where they lead today says nothing about tomorrow, and the port has to stay the same.
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
