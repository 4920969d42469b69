//! Keeping a bus's own datagrams from waking it.
//!
//! Multicast loopback, which other buses of this machine need, also brings a sender everything that
//! it sent: every event would be received once by its own sender, only to be dropped there. On
//! Linux a classic BPF program on the group's socket drops it in the kernel. It goes by the address
//! of the unicast socket, which this bus alone can send from. Where no filter can be set, or the
//! address has changed since, the protocol drops the echo as it does everywhere else.
//!
//! The kernel counts what a filter drops together with what found the buffer full. So those that
//! are sent are counted here, to be taken off again.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use socket2::Socket;

/// How many datagrams the filter has dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct SelfFilter(Arc<AtomicU64>);

impl SelfFilter {
    /// Counts one for a `send` to the group that succeeds. It counts before, so that there are
    /// never more drops than were counted.
    pub(super) fn count(&self, send: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        send().inspect_err(|_| {
            self.0.fetch_sub(1, Ordering::SeqCst);
        })
    }

    /// The kernel's count `drops` without the bus's own datagrams. It is too low while some of them
    /// have been sent and not filtered yet.
    pub(super) fn without(&self, drops: u64) -> u64 {
        drops.saturating_sub(self.0.load(Ordering::SeqCst))
    }
}

/// Sets the filter. `None`: there is none, and nothing to take off.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_self_filter(group: &Socket, host: IpAddr, port: u16) -> Option<SelfFilter> {
    use socket2::SockFilter;

    // Instructions of linux/bpf_common.h. For a UDP socket, offset 0 is the UDP header; the IP
    // header is found at offsets from `NETWORK_HEADER` (`SKF_NET_OFF` of linux/filter.h).
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NETWORK_HEADER: u32 = (-0x10_0000_i32) as u32;
    const UDP_SOURCE_PORT: u32 = 0;
    const IPV4_SOURCE: u32 = NETWORK_HEADER + 12;
    const IPV6_SOURCE: u32 = NETWORK_HEADER + 8;
    const EVERYTHING: u32 = u32::MAX;

    let (first, words): (u32, Vec<u32>) = match host {
        IpAddr::V4(v4) => (IPV4_SOURCE, vec![v4.into()]),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
            (IPV6_SOURCE, words.to_vec())
        }
    };
    // Any difference jumps to the last instruction; each word takes two instructions.
    let mut to_the_last = 2 * words.len() as u8 + 1;
    let mut program = vec![
        SockFilter::new(LOAD_HALF, 0, 0, UDP_SOURCE_PORT),
        SockFilter::new(JUMP_EQUAL, 0, to_the_last, port.into()),
    ];
    for (index, word) in (0_u32..).zip(words) {
        to_the_last -= 2;
        program.push(SockFilter::new(LOAD_WORD, 0, 0, first + 4 * index));
        program.push(SockFilter::new(JUMP_EQUAL, 0, to_the_last, word));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program.push(SockFilter::new(RETURN, 0, 0, EVERYTHING));
    // Where there is none, they are dropped later, which costs more and changes nothing else.
    let attached = group.attach_filter(&program);
    attached.is_ok().then(SelfFilter::default)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_self_filter(_group: &Socket, _host: IpAddr, _port: u16) -> Option<SelfFilter> {
    None
}
