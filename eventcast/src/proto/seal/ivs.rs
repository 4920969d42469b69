//! The source of initialisation vectors. The protocol has no randomness of its own: the driver
//! passes in a source, which fills many vectors at a time.

use std::{fmt, sync::Arc};

/// How many bytes are drawn at once: as many as a full batch of datagrams takes.
const ASKED_FOR: usize = 64 * 16;

/// A source of random bytes that cannot be predicted: the system's, except in tests.
#[derive(Clone)]
pub struct IvSource(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl IvSource {
    /// One that fills the bytes it is given, all of them, each time anew. It is called from within
    /// [`Engine::poll_transmit`](crate::proto::Engine::poll_transmit), for a kilobyte at a time.
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }
}

impl fmt::Debug for IvSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IvSource")
    }
}

/// Takes from a source, a piece at a time.
pub(super) struct Ivs {
    source: IvSource,
    bytes: [u8; ASKED_FOR],
    /// Where the next one stands.
    next: usize,
}

impl Ivs {
    pub(super) fn new(source: IvSource) -> Self {
        Self {
            source,
            bytes: [0; ASKED_FOR],
            next: ASKED_FOR,
        }
    }

    #[inline]
    pub(super) fn next(&mut self) -> [u8; 16] {
        if self.next == ASKED_FOR {
            (self.source.0)(&mut self.bytes);
            self.next = 0;
        }
        let iv = self.bytes[self.next..].first_chunk().copied();
        self.next += 16;
        iv.expect("there are as many as were asked for")
    }
}
