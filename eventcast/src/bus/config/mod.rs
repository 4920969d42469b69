//! The options of a bus, and the three layers in which a user can set them.
//!
//! Responsible for [`Config`], the values of one layer: each option's names, how it is read from a
//! file and from the environment, its default and its range. The table below defines all of that
//! once for each option. A new option is one new entry: the field of [`Config`], the setter of
//! [`Builder`], the variable, both spellings in files, the check and the field of [`Options`] are
//! generated from it.
//!
//! Not responsible for the precedence of layers, nor for rules between two options: that is
//! [`options`](mod@self::options). Nothing here opens a socket or queries the machine; the start
//! checks that an interface exists.
//!
//! Contract: every wrong value is a [`ConfigError`] that names option, value and range; whether it
//! takes effect depends on the other layers. No input panics.

pub(crate) mod builder;
mod environment;
mod error;
mod file;
mod group;
pub(crate) mod options;
pub(crate) mod secret;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

pub(crate) use environment::{UnknownVariable, Variables};
pub use error::{ConfigError, ConfigLayer};
pub(crate) use group::GroupAddress;
pub use value::ListenerQueue;

use self::{builder::Builder, secret::Secret};

#[cfg(feature = "repl")]
pub(crate) use table::Setting;
use table::{Entry, options, put};
use value::{InForce, Show, Value, within};

/// The system takes a socket buffer's size as a C int, and Linux doubles the value.
const MAX_SOCKET_BUFFER: usize = i32::MAX as usize / 2;

/// The smallest useful message: its metadata alone takes some 200 bytes.
const MIN_MESSAGE_SIZE: usize = 256;

/// A BSON document's length is an int32.
const MAX_MESSAGE_SIZE: usize = i32::MAX as usize;

/// Room for one datagram of the largest size that UDP has.
const MIN_SEND_QUEUE: usize = 64 * 1024;

/// Sent messages are kept for three times this, and incomplete ones for at most twenty times: with
/// more than ten minutes these times would be hours.
const MESSAGE_TTL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(600));

/// A hundred hellos a second from each bus are a load on the network already. With more than a
/// minute between two, the leave of a peer is noticed too late.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
const PEER_TIMEOUT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(600));

/// The clocks of two machines often differ by up to a second. A recording can be replayed to a
/// newly started bus for as long as this, hence the upper bound.
const CLOCK_TOLERANCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The requirement for a passphrase or key.
pub(super) const SECRET: &str =
    "a passphrase that is not empty, or a ready key of at least 32 bytes";

/// The requirement for a console's token.
const TOKEN: &str = "a text of at least one character, without control characters";

/// Below ten microseconds, reading the clock would take longer than the listener. A listener that
/// hangs keeps the socket from being read for as long as this, hence the upper bound.
const LISTENER_BUDGET: (Duration, Duration) = (Duration::from_micros(10), Duration::from_secs(60));

/// WIRE: never generated, and refused as a configured id.
const ZERO_ID: &str = "0000000000000000";

options! {
    /// The id by which peers know this bus: 1 to 64 bytes of text without control characters, and
    /// not sixteen zeros.
    ///
    /// Default: 16 random hex digits, new at each start, so that no two buses need to agree on
    /// anything. Give one that is unique in the group when peers shall recognise this bus after a
    /// restart. Its starts must be a millisecond apart by the clock: where two of them show the
    /// same one, as on a machine whose clock is set anew at each boot, peers take the second start
    /// for the first and drop what it sends under numbers that were used.
    id in "EVENTCAST_ID" {
        given: impl Into<String>,
        value: String,
        option: Option<String> = None,
        allowed: "1 to 64 bytes of text without control characters, and not sixteen zeros",
        check: |id| ((1..=64).contains(&id.len()) && id != ZERO_ID && is_plain(id)).then(|| Some(id.clone())),
        example: "robot-3",
    }

    /// The address of this machine at which this bus takes what is sent to it alone, of the same
    /// family as the group.
    ///
    /// Default: none, which is as good as `0.0.0.0`, or `::` for an IPv6 group: the address of the
    /// interface if `multicast_interface` names one, else any. It does not choose the interface:
    /// that is `multicast_interface`.
    address in "EVENTCAST_ADDRESS" {
        given: impl Into<String>,
        value: String,
        option: Option<IpAddr> = None,
        allowed: "an address of this machine, such as 0.0.0.0 or ::",
        check: |address| address.parse::<IpAddr>().ok().map(|address| Some(address).filter(|address| !address.is_unspecified())),
        example: "192.0.2.7",
    }

    /// The UDP port of the group, 1 to 65,535. Buses that shall meet need the same group and the
    /// same port.
    ///
    /// Default, and with 0: a random one of 49,152 to 65,535, drawn when the bus is built and
    /// logged, so that two unrelated applications do not meet by accident. Without 0 there is a
    /// warning: no other program will draw the same.
    port in "EVENTCAST_PORT" {
        given: u16,
        value: u16,
        option: u16 = 0,
        allowed: "0 to 65,535 (0: a random one)",
        check: |&port| Some(port),
        example: 9000,
    }

    /// The multicast group: an IPv4 address of 224.0.0.0 to 239.255.255.255, or an IPv6 address
    /// that begins with `ff`. One of IPv6 may name its interface as in `ff02::1234%eth0`; then
    /// `multicast_interface` is left out, or names the same one.
    ///
    /// Default: `224.0.0.1`, all hosts of the local network, which every host has joined already
    /// and no router passes on. Applications of one site that shall not hear each other take groups
    /// of their own from 239.192.0.0/14 (RFC 2365, section 6.2), or of IPv6 from ff15::/16 (one
    /// site) and ff12::/16 (one link) (RFC 4291, section 2.7).
    multicast_membership | "multicastMembership" in "EVENTCAST_MULTICAST_MEMBERSHIP" {
        given: impl Into<String>,
        value: String,
        option: GroupAddress = GroupAddress::DEFAULT,
        allowed: "a multicast address (224.0.0.0 to 239.255.255.255, or one of IPv6 that begins with ff, such as ff02::1234%eth0)",
        check: |group| GroupAddress::parse(group),
        example: "239.192.7.1",
    }

    /// The interface on which the group is joined and through which datagrams leave: `"default"`,
    /// `"all"`, the address of one of this machine's interfaces, or an interface's name such as
    /// `"eth0"`. `"127.0.0.1"` keeps everything on this machine.
    ///
    /// With `"all"` the group is joined on every interface that is up, does multicast and has an
    /// address (the loopback interface only where there is no other), and every datagram leaves by
    /// each of them; each event is delivered once all the same.
    ///
    /// An interface that goes and comes back, or whose address changes, is joined again by itself.
    /// One that was given by an address is kept when it gets another address. An interface that
    /// lacks the flag MULTICAST, as most VPNs do, is used if it is named, with a warning.
    ///
    /// Default: `"default"`, the interface to which the system's route for the group leads (for
    /// IPv6 the one by which everything else leaves). Where there is no such route, as on a switch
    /// without a router, or it leads to an interface that cannot do multicast, as that of a VPN:
    /// every interface as with `"all"`, with a warning; loopback alone only where there is no
    /// other, with a warning too. It is looked at anew whenever interfaces, addresses or routes
    /// change. Whether the interface exists is found out at start.
    multicast_interface | "multicastInterface" in "EVENTCAST_MULTICAST_INTERFACE" {
        given: impl Into<String>,
        value: String,
        option: String = "default".to_owned(),
        allowed: "\"default\", \"all\", an address of this machine, or the name of an interface",
        check: |interface| (!interface.trim().is_empty() && is_plain(interface)).then(|| interface.clone()),
        example: "127.0.0.1",
    }

    /// Whether other buses on this machine receive what this bus sends.
    ///
    /// Default: true, so that processes on one machine meet. This bus's own listeners are called
    /// either way. On the loopback interface it changes nothing: Linux returns everything that is
    /// sent there.
    multicast_loopback | "multicastLoopback" in "EVENTCAST_MULTICAST_LOOPBACK" {
        given: bool,
        value: bool,
        option: bool = true,
        allowed: "true or false",
        check: |&loopback| Some(loopback),
        example: false,
    }

    /// How many routers a datagram to the group may pass, plus one: 0 to 255. With 0 nothing
    /// leaves the machine.
    ///
    /// Default: 1, the local network alone.
    multicast_ttl | "multicastTtl" in "EVENTCAST_MULTICAST_TTL" {
        given: u8,
        value: u8,
        option: u8 = 1,
        allowed: "0 to 255",
        check: |&ttl| Some(ttl),
        example: 4,
    }

    /// The UDP port of this bus's second socket, through which it sends, and where peers reach
    /// it alone: 0 to 65,535, another than `port`. A firewall needs a fixed one, and each bus on
    /// a machine its own.
    ///
    /// Default: 0, any that is free.
    unicast_port | "unicastPort" in "EVENTCAST_UNICAST_PORT" {
        given: u16,
        value: u16,
        option: u16 = 0,
        allowed: "0 to 65,535 (0: any that is free)",
        check: |&port| Some(port),
        example: 9001,
    }

    /// The size of the receiving sockets' buffers in the kernel, in bytes: 1 to 1,073,741,823.
    /// The system may grant less (on Linux no more than `net.core.rmem_max`).
    ///
    /// Default: none, the system's own. A larger one rides out longer bursts.
    receive_buffer | "receiveBuffer" in "EVENTCAST_RECEIVE_BUFFER" {
        given: usize,
        value: usize,
        option: Option<usize> = None,
        allowed: "1 to 1,073,741,823 bytes",
        check: |&size| within(1, size, MAX_SOCKET_BUFFER).map(Some),
        example: 8 * 1024 * 1024,
    }

    /// The size of the sending sockets' buffers in the kernel, in bytes: 1 to 1,073,741,823.
    /// The system may grant less (on Linux no more than `net.core.wmem_max`).
    ///
    /// Default: none, the system's own.
    send_buffer | "sendBuffer" in "EVENTCAST_SEND_BUFFER" {
        given: usize,
        value: usize,
        option: Option<usize> = None,
        allowed: "1 to 1,073,741,823 bytes",
        check: |&size| within(1, size, MAX_SOCKET_BUFFER).map(Some),
        example: 1024 * 1024,
    }

    /// The longest datagram that is not cut, and the length of the slices of a longer message,
    /// in bytes: 64 to 60,000. Above 1,472 a datagram travels in several IP fragments, and the
    /// loss of one loses all.
    ///
    /// Default: 1,024, as old peers have it; with metadata it fits into one Ethernet frame.
    max_payload_size | "maxPayloadSize" in "EVENTCAST_MAX_PAYLOAD_SIZE" {
        given: usize,
        value: usize,
        option: usize = 1024,
        allowed: "64 to 60,000 bytes",
        check: |&size| within(64, size, 60_000),
        example: 1_200,
    }

    /// The longest message, in bytes, that this bus sends or puts together again: 256 to
    /// 2,147,483,647, and no more than half of `max_held_bytes`.
    ///
    /// Default: 33,554,432 (32 MiB). Receivers have their own limit: raise it everywhere. A listener
    /// without a type decodes into at most ten times as much memory; an event that takes more is
    /// reported as one that does not fit.
    max_message_size | "maxMessageSize" in "EVENTCAST_MAX_MESSAGE_SIZE" {
        given: usize,
        value: usize,
        option: usize = 32 * 1024 * 1024,
        allowed: "256 to 2,147,483,647 bytes",
        check: |&size| within(MIN_MESSAGE_SIZE, size, MAX_MESSAGE_SIZE),
        example: 64 * 1024 * 1024,
    }

    /// How much this bus holds of messages that are not complete yet, or wait for an earlier one,
    /// from all senders together, in bytes: at least twice `max_message_size`, so that one sender's
    /// largest message never drives out another's. The memory counts: about 250 bytes beside an
    /// event that waits, and as much for each gap that it waits for. Where more is missing than
    /// there is room for, the first gap of the sender that holds most is reported as lost
    /// ([`Notice::Lost`](crate::Notice::Lost)).
    ///
    /// Default: 100,663,296 (96 MiB), three of the largest messages.
    max_held_bytes | "maxHeldBytes" in "EVENTCAST_MAX_HELD_BYTES" {
        given: usize,
        value: usize,
        option: usize = 96 * 1024 * 1024,
        allowed: "at least 512 bytes, and twice `max_message_size`",
        check: |&size| within(2 * MIN_MESSAGE_SIZE, size, usize::MAX),
        example: 256 * 1024 * 1024,
    }

    /// How much of its sent messages this bus keeps, so that it can send them again to receivers
    /// that missed them, in bytes: at least `max_message_size`.
    ///
    /// Default: 67,108,864 (64 MiB). The oldest is dropped first, and all of it after three times
    /// `message_ttl`. A receiver that missed what was dropped reports it as lost.
    history_bytes | "historyBytes" in "EVENTCAST_HISTORY_BYTES" {
        given: usize,
        value: usize,
        option: usize = 64 * 1024 * 1024,
        allowed: "at least 256 bytes, and `max_message_size`",
        check: |&size| within(MIN_MESSAGE_SIZE, size, usize::MAX),
        example: 128 * 1024 * 1024,
    }

    /// How long a receiver waits for a message of which nothing more comes: 1 ms to 10 min.
    ///
    /// Default: 3 s, time for many requests for the missing parts. Sent messages are kept for
    /// repair for three times as long, and for so long a receiver waits while the sender is busy
    /// with other requests. The first event of a sender that has not said hello yet may wait for
    /// half of it, 1.5 s at most, and a stop goes on answering requests for as long as it says.
    message_ttl | "messageTtl" in "EVENTCAST_MESSAGE_TTL" {
        given: Duration,
        value: Duration,
        option: Duration = Duration::from_secs(3),
        allowed: "1 ms to 10 min",
        check: |&ttl| within(MESSAGE_TTL.0, ttl, MESSAGE_TTL.1),
        example: Duration::from_secs(5),
    }

    /// How often the missing chunks of a message are requested without any arriving: 0 to 100.
    ///
    /// Default: 3. The pauses between the requests double. Where more than one datagram in twenty
    /// is lost, now and then three requests for a last chunk go unanswered, and a higher value
    /// helps.
    message_retransmit_attempts | "messageRetransmitAttempts" in "EVENTCAST_MESSAGE_RETRANSMIT_ATTEMPTS" {
        given: u32,
        value: u32,
        option: u32 = 3,
        allowed: "0 to 100",
        check: |&attempts| within(0, attempts, 100),
        example: 10,
    }

    /// The time from one hello to the next, by which peers know that this bus is there and what it
    /// has sent: 10 ms to 1 min, and less than `peer_timeout`.
    ///
    /// Default: 1 s.
    heartbeat in "EVENTCAST_HEARTBEAT" {
        given: Duration,
        value: Duration,
        option: Duration = Duration::from_secs(1),
        allowed: "10 ms to 1 min",
        check: |&heartbeat| within(HEARTBEAT.0, heartbeat, HEARTBEAT.1),
        example: Duration::from_millis(500),
    }

    /// How long a peer may be silent before it counts as gone: 20 ms to 10 min, and more than
    /// `heartbeat`.
    ///
    /// Default: 5 s, so that a few lost hellos mean nothing.
    peer_timeout | "peerTimeout" in "EVENTCAST_PEER_TIMEOUT" {
        given: Duration,
        value: Duration,
        option: Duration = Duration::from_secs(5),
        allowed: "20 ms to 10 min",
        check: |&timeout| within(PEER_TIMEOUT.0, timeout, PEER_TIMEOUT.1),
        example: Duration::from_secs(10),
    }

    /// Whether everything that this bus emits is best effort: delivered at once and never twice,
    /// but a lost event is neither waited for nor requested again, and so the order is not certain.
    ///
    /// Default: false. A single event type chooses it with `#[net_event(best_effort)]`.
    best_effort | "bestEffort" in "EVENTCAST_BEST_EFFORT" {
        given: bool,
        value: bool,
        option: bool = false,
        allowed: "true or false",
        check: |&best_effort| Some(best_effort),
        example: true,
    }

    /// How many bytes may wait for the socket before `emit` refuses with `QueueFull`: at least
    /// 65,536, one datagram of the largest size. Messages in chunks may wait for as much again, so
    /// that they take no room from small ones.
    ///
    /// Default: 4,194,304 (4 MiB).
    send_queue | "sendQueue" in "EVENTCAST_SEND_QUEUE" {
        given: usize,
        value: usize,
        option: usize = 4 * 1024 * 1024,
        allowed: "at least 65,536 bytes",
        check: |&size| within(MIN_SEND_QUEUE, size, usize::MAX),
        example: 16 * 1024 * 1024,
    }

    /// How long a listener may run on the thread that reads the socket: 10 us to 60 s. One that
    /// takes longer is moved to a queue and a thread of its own.
    ///
    /// Default: 1 ms, far more than a quick listener needs.
    listener_budget | "listenerBudget" in "EVENTCAST_LISTENER_BUDGET" {
        given: Duration,
        value: Duration,
        option: Duration = Duration::from_millis(1),
        allowed: "10 us to 60 s",
        check: |&budget| within(LISTENER_BUDGET.0, budget, LISTENER_BUDGET.1),
        example: Duration::from_millis(5),
    }

    /// How much may wait for one slow listener, in events and in bytes, each at least 1. When
    /// either is reached, the newest events are dropped and reported.
    ///
    /// In a file a table such as `{ events = 1000, bytes = 1000000 }`, in the environment
    /// `events=1000,bytes=1000000`; a part that is not given keeps its default, and a single
    /// number is the number of events.
    ///
    /// Default: 16,384 events and 16,777,216 bytes (16 MiB).
    listener_queue | "listenerQueue" in "EVENTCAST_LISTENER_QUEUE" {
        given: ListenerQueue,
        value: ListenerQueue,
        option: ListenerQueue = ListenerQueue::DEFAULT,
        allowed: "at least 1 event and 1 byte",
        check: |&queue| (queue.events > 0 && queue.bytes > 0).then_some(queue),
        example: eventcast::ListenerQueue { events: 1_000, ..Default::default() },
    }

    /// How many listeners one event may have before a warning is logged, which is how a listener
    /// that is registered again and again is noticed. 0: never.
    ///
    /// Default: 10, as Node.js's EventEmitter has it.
    max_listeners | "maxListeners" in "EVENTCAST_MAX_LISTENERS" {
        given: usize,
        value: usize,
        option: usize = 10,
        allowed: "a whole number from 0 (0: no warning)",
        check: |&count| Some(count),
        example: 100,
    }

    /// The passphrase of the group, or a ready key ([`Secret::ready_key`]). With it everything that
    /// this bus sends is sealed, and it accepts only what a bus with the same passphrase, group and
    /// port has sealed. The page [`security`](crate::security) says what that protects against.
    ///
    /// The key is derived by PBKDF2-HMAC-SHA-256 with 600,000 rounds, once in a process, while the
    /// bus starts; in a program that is built without optimisation that takes seconds, see there.
    /// In a file it may stand as `encrypt = { key = ".." }` too, as the old module had it.
    ///
    /// A sealed bus compares times: `clock_tolerance` says how far clocks may be apart, and what that
    /// costs in the first minute.
    ///
    /// Default: none, everything goes in the clear.
    passphrase | "encrypt" in "EVENTCAST_PASSPHRASE" {
        given: impl Into<Secret>,
        value: Secret,
        option: Option<Secret> = None,
        allowed: SECRET,
        check: |secret| secret.is_usable().then(|| Some(secret.clone())),
        example: "correct horse battery staple",
    }

    /// A file with the passphrase in it, which its owner alone may read. A line break at its end is
    /// not part of the passphrase.
    ///
    /// Default: none. Where both this and `passphrase` are given, that from the better place wins.
    passphrase_file | "passphraseFile" in "EVENTCAST_PASSPHRASE_FILE" {
        given: impl Into<PathBuf>,
        value: PathBuf,
        option: Option<PathBuf> = None,
        allowed: "the path of a file",
        check: |path| (!path.as_os_str().is_empty()).then(|| Some(path.clone())),
        example: "/etc/robot/eventcast.passphrase",
    }

    /// The salt with which keys are derived: any bytes, the same on all buses of the group. It is
    /// no secret.
    ///
    /// Default: none, which derives it from the group and its port. So one passphrase gives other
    /// keys in another group, and a salt need not be agreed on.
    key_salt | "keySalt" in "EVENTCAST_KEY_SALT" {
        given: impl Into<Vec<u8>>,
        value: Vec<u8>,
        option: Option<Vec<u8>> = None,
        allowed: "a text",
        check: |salt| Some(Some(salt.clone())),
        example: "factory 7",
    }

    /// How far the time in a sealed datagram may be from this bus's clock, either way: 1 s to 10
    /// min. An older datagram counts as a replay.
    ///
    /// Default: 30 s. A group whose clocks are further apart needs more. In the first 60 s after its
    /// start a bus cannot tell a replay from what it missed, and refuses what was sealed more than
    /// 1 s before its own time, whatever this option says: it hears nothing of a peer whose clock is
    /// behind by more, and reports that ([`Notice::Refused`](crate::Notice::Refused)).
    clock_tolerance | "clockTolerance" in "EVENTCAST_CLOCK_TOLERANCE" {
        given: Duration,
        value: Duration,
        option: Duration = Duration::from_secs(30),
        allowed: "1 s to 10 min",
        check: |&tolerance| within(CLOCK_TOLERANCE.0, tolerance, CLOCK_TOLERANCE.1),
        example: Duration::from_secs(60),
    }

    /// Whether the passphrase is used as peers of another make use it, which speak version 3
    /// without eventcast's extensions: AES with a fixed IV and no authentication. An eavesdropper
    /// sees which events begin alike, and anybody can forge and replay. Needs the feature
    /// `classic`, and is warned about at each start.
    ///
    /// Default: false. Turn it on only where such peers have to be reached.
    classic_cipher | "classicCipher" in "EVENTCAST_CLASSIC_CIPHER" {
        given: bool,
        value: bool,
        option: bool = false,
        allowed: "true or false",
        check: |&on| Some(on),
        example: true,
    }

    /// Whether peers of another make, which speak version 3 without eventcast's extensions, are
    /// protected from events that end them: with it `emit` refuses a decimal or a DBPointer
    /// anywhere in the arguments, and an event with the key `error`. Such a peer does not catch
    /// errors where it receives, and its process would end.
    ///
    /// Default: false. Buses of eventcast accept all of these. Whatever it says, such a peer cannot
    /// prove its address: repair for it is bounded at three times what came from its IP address, and
    /// 256 KiB a minute.
    old_peers | "oldPeers" in "EVENTCAST_OLD_PEERS" {
        given: bool,
        value: bool,
        option: bool = false,
        allowed: "true or false",
        check: |&on| Some(on),
        example: true,
    }

    /// Whether warnings and errors go to standard error where nothing else takes them: one line
    /// each, as rarely as the notices that they are. Something takes them where this bus has a
    /// listener or a stream of notices ([`Bus::on_notice`](crate::Bus::on_notice),
    /// [`Bus::notices`](crate::Bus::notices)), or the program has installed a `tracing` subscriber,
    /// such as that of `eventcast::log`.
    ///
    /// Default: true, so that a program without either still shows why no other bus hears it. Set
    /// it to false where standard error belongs to something else, or the crate `log` takes the
    /// events of `tracing`, which no library can know.
    last_resort | "lastResort" in "EVENTCAST_LAST_RESORT" {
        given: bool,
        value: bool,
        option: bool = true,
        allowed: "true or false",
        check: |&on| Some(on),
        example: false,
    }

    /// Whether the bus has a console: a place on this machine where a person can see what the bus
    /// does, watch events and emit some, with `telnet` or `nc`. The page `eventcast::repl` has the
    /// commands. Needs the feature `repl`.
    ///
    /// Default: false, unless `repl_port` is given. A client of a console can do with the bus all
    /// that the program can, so it has to be turned on. It serves 32 clients; beyond that the one
    /// that was idle longest, for 10 s at least, gives way to a new one.
    repl in "EVENTCAST_REPL" {
        given: bool,
        value: bool,
        option: bool = false,
        allowed: "true or false",
        check: |&on| Some(on),
        example: true,
    }

    /// The TCP port of the console, 0 to 65,535. Giving it turns the console on, unless `repl` is
    /// false in the same place or in a better one.
    ///
    /// Default, and with 0: any that is free; it is logged, and `Bus::repl_address` returns it.
    repl_port | "replPort" in "EVENTCAST_REPL_PORT" {
        given: u16,
        value: u16,
        option: u16 = 0,
        allowed: "0 to 65,535 (0: any that is free)",
        check: |&port| Some(port),
        example: 2323,
    }

    /// Where the console listens: `localhost`, or an address of this machine. One that others can
    /// reach needs a `repl_token`, and is warned about: what is typed there goes over the network
    /// in the clear.
    ///
    /// Default: `localhost`, which is 127.0.0.1.
    repl_host | "replHost" in "EVENTCAST_REPL_HOST" {
        given: impl Into<String>,
        value: String,
        option: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST),
        allowed: "\"localhost\", or an address of this machine",
        check: |host| match host.as_str() {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            address => address.parse().ok(),
        },
        example: "192.0.2.7",
    }

    /// What a client of the console has to say first.
    ///
    /// Default: none, so that every user of this machine may use a console on `localhost`.
    ///
    /// Guesses are slowed down by the IP address that they come from, so a client with the right
    /// token that shares its address with a guesser waits up to 24 s.
    repl_token | "replToken" in "EVENTCAST_REPL_TOKEN" {
        given: impl Into<Secret>,
        value: Secret,
        option: Option<Secret> = None,
        allowed: TOKEN,
        check: |token| token.is_line().then(|| Some(token.clone())),
        example: "correct horse battery staple",
    }
}

impl Config {
    /// Whether an option is given, with a right or a wrong value.
    pub(in crate::bus) fn gives(&self, option: &str) -> bool {
        self.has(option) || self.is_wrong(option)
    }

    /// Whether an option was read with a wrong value, and not set since.
    fn is_wrong(&self, option: &str) -> bool {
        let mut wrong = self.wrong.iter();
        !self.has(option) && wrong.any(|error| error.option() == option)
    }

    /// The wrong values that were read: first those that the program has replaced since, then the
    /// others.
    pub(in crate::bus) fn replaced(&self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        let wrong = self.wrong.iter().cloned();
        wrong.partition(|error| self.has(error.option()))
    }

    /// Removes the value of an option, right or wrong.
    pub(in crate::bus) fn leave_out(&mut self, option: &str) {
        self.clear(option);
        self.wrong.retain(|error| error.option() != option);
    }
}

/// The environment variable of an option.
fn variable(option: &'static str) -> &'static str {
    let entry = TABLE.iter().find(|entry| entry.name() == option);
    entry.map_or(option, |entry| entry.variable)
}

/// Whether a text may appear in a log line.
fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
