//! What happened in a world, as the checker reads it: who lived when, and one line for each thing
//! that happened.
//!
//! Nothing in it comes from what an engine says of itself where the world can see it for itself.

use std::{net::SocketAddr, time::Duration};

/// Nanoseconds since the world began.
pub type Nanos = u64;

/// A duration in the world's unit.
#[must_use]
pub const fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}

/// A millisecond.
pub const MILLI: Nanos = 1_000_000;

/// One start of one bus (an incarnation), or an old peer: an index into [`History::lives`].
pub type Life = u32;

/// A message by who emitted it and how many that one emitted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey {
    /// Who.
    pub sender: Life,
    /// How many of this sender's came before it.
    pub place: u64,
}

/// All that happened, in order of time.
#[derive(Clone, Debug)]
pub struct History {
    /// Who lived.
    pub lives: Vec<LifeFacts>,
    /// What happened.
    pub records: Vec<Record>,
    /// From when on nothing was to be done any more.
    pub quiet_from: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// The pause between two hellos of a bus.
    pub heartbeat: Nanos,
    /// The faults were such that everything numbered can be delivered in time: nothing may be told
    /// as lost.
    pub mild: bool,
    /// The group is sealed: no old peer reads anything, and what is repaired for several goes to
    /// the group as it was.
    pub sealed: bool,
    /// Somebody speaks in the names of such as never lived.
    pub posers: bool,
}

/// What is known of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeFacts {
    /// The bus's id.
    pub id: String,
    /// When it began.
    pub started: Nanos,
    /// When and how it ended, if it did.
    pub ended: Option<(Nanos, End)>,
    /// A peer of another make, without the extensions.
    pub old: bool,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In the middle of everything.
    Crashed,
    /// It said goodbye.
    Left,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Nanos,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A bus took a message to be sent.
    Sent {
        /// Which.
        message: MessageKey,
        /// It is to be delivered in order, and waited for.
        ordered: bool,
        /// The number that the bus gave it.
        number: Option<u64>,
        /// What stands for its content.
        digest: u64,
    },
    /// A datagram reached a bus that tells it of numbers of a sender. Noted where it tells more
    /// than those before.
    Heard {
        /// Who heard.
        by: Life,
        /// Whose numbers.
        of: Life,
        /// The highest that is now known to have been sent.
        number: u64,
        /// It stands in a hello or a goodbye, and not on a message.
        claimed: bool,
        /// The network had altered the datagram, and it may have been refused.
        altered: bool,
    },
    /// A datagram came to a bus that was sent before the bus began, or is a piece of a message that
    /// may have been, or makes its sender seem to have begun after the bus: so it may miss what had
    /// gone out when it began.
    Recalled {
        /// Who heard.
        by: Life,
        /// Whose datagram.
        of: Life,
        /// It may miss numbers from this one on.
        from: u64,
    },
    /// The network altered the content of a message on its way, so that no checksum but the
    /// application's shows it.
    Altered {
        /// For whom.
        to: Life,
        /// Which message.
        message: MessageKey,
    },
    /// A message was given to an application.
    Delivered {
        /// To whom.
        to: Life,
        /// Whom the bus names as sender: a life by its id and incarnation.
        from: Option<Life>,
        /// The number that the bus names.
        number: Option<u64>,
        /// What it was.
        content: Content,
    },
    /// An application was told that numbers are lost.
    Lost {
        /// Who was told.
        to: Life,
        /// Whose.
        of: Option<Life>,
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// An application was told that a peer is there.
    Joined {
        /// Who was told.
        to: Life,
        /// Who is there.
        of: Life,
    },
    /// An application was told that a peer is gone.
    Left {
        /// Who was told.
        to: Life,
        /// Who is gone.
        of: Life,
        /// Because it has said goodbye.
        goodbye: bool,
        /// For how long the bus has got nothing of it that says that it lives, beside the time in
        /// which the bus was stopped. `None`: it never has.
        silent_for: Option<Nanos>,
        /// A goodbye of it has come.
        said_goodbye: bool,
        /// Input waits for the bus that it has not looked at.
        input_waits: bool,
    },
    /// Something came of one of two lives that share an id, by which a bus can know that both are
    /// there.
    Namesakes {
        /// Who can know.
        by: Life,
        /// The two, in order. One of them may be `by` itself.
        lives: [Life; 2],
        /// It must know.
        sure: bool,
    },
    /// An application was told that two buses share an id.
    Clash {
        /// Who was told.
        to: Life,
        /// The two, in order, one of which may be itself.
        lives: [Option<Life>; 2],
    },
    /// An application was told that a message in chunks was given up.
    Expired {
        /// Who was told.
        to: Life,
        /// Which, by the id on the wire.
        message: Option<MessageKey>,
        /// The number that the bus names.
        number: Option<u64>,
    },
    /// A datagram was sent.
    Cast {
        /// By whom.
        by: Life,
        /// To one address, or to the group.
        to: Option<SocketAddr>,
        /// What it was.
        kind: Kind,
    },
    /// The process of a bus was stopped until now.
    Stopped {
        /// Which bus.
        who: Life,
        /// For how long.
        stopped_for: Nanos,
    },
    /// Somebody has said something to a bus in the name of another one that nobody can tell from
    /// what that one says, with the key of a sealed group or from that one's address: what it makes
    /// of that one is as good as what both say together.
    Posed {
        /// For whom.
        to: Life,
        /// In whose name.
        of: Life,
    },
    /// A bus obeyed a hello or a goodbye in another one's name that came from elsewhere, although
    /// it hears that one.
    Obeyed {
        /// Who obeyed.
        by: Life,
        /// In whose name it was.
        of: Life,
    },
    /// A datagram came from an address from which none had come to this bus.
    Met {
        /// Who heard.
        by: Life,
        /// From where.
        address: SocketAddr,
    },
    /// How much a bus held at most.
    Peak {
        /// Which bus.
        of: Life,
        /// Of what.
        what: &'static str,
        /// How much.
        bytes: usize,
        /// How much it may.
        limit: usize,
    },
    /// A bus refused what another one had sealed for it in time, with a key that it has, and what
    /// it had not had; or it lacks the key that another one uses.
    Refused {
        /// Who refuses.
        by: Life,
        /// Whose datagram.
        of: Life,
    },
    /// A bus always had something more to do at once.
    Spun {
        /// Which.
        by: Life,
    },
}

/// What an application got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its checksum is good.
    Whole {
        /// Which message it says it is.
        message: MessageKey,
        /// What stands for its content.
        digest: u64,
    },
    /// Its checksum is not; this is what its id on the wire says.
    Broken(Option<MessageKey>),
}

/// What a datagram is, as any peer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole message, or one chunk of one.
    Data {
        /// Which.
        message: Option<MessageKey>,
        /// The index of the chunk; 0 for a whole message.
        chunk: u32,
        /// It is wrapped into `__ec_again`.
        again: bool,
    },
    /// `__ec_hello`.
    Hello,
    /// `__ec_nack`: numbers of a sender, as ranges.
    Nack {
        /// Who is asked.
        of: Option<Life>,
        /// From and to, both included.
        missing: Vec<(u64, u64)>,
    },
    /// `__ec_retx`: chunks of a message.
    Retx {
        /// Which.
        message: Option<MessageKey>,
        /// The indexes.
        missing: Vec<u32>,
    },
    /// `__ec_gone`.
    Gone,
    /// `__ec_bye`.
    Bye,
    /// An old peer cannot read it, or knows no such thing.
    Unreadable,
}
