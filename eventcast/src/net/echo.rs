//! Keeping a bus's own datagrams from waking it.
//!
//! Multicast loopback, which other buses of this machine need, also brings a sender everything that
//! it sent: every event would be received once by its own sender, only to be dropped there. On Linux
//! a classic BPF program on the group's socket drops it in the kernel. It goes by the address of the
//! unicast socket, which this bus alone can send from. Where no filter can be set, or the address has
//! changed since, the protocol drops the echo as it does everywhere else.

use std::net::Ipv4Addr;

use socket2::Socket;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn drop_echo(group: &Socket, host: Ipv4Addr, port: u16) {
    use socket2::SockFilter;

    // Instructions of linux/bpf_common.h. For a UDP socket, offset 0 is the UDP header; the IP header
    // is found at offsets from `NETWORK_HEADER` (`SKF_NET_OFF` of linux/filter.h).
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NETWORK_HEADER: u32 = (-0x10_0000_i32) as u32;
    const UDP_SOURCE_PORT: u32 = 0;
    const IP_SOURCE: u32 = NETWORK_HEADER + 12;
    const EVERYTHING: u32 = u32::MAX;

    let program = [
        SockFilter::new(LOAD_HALF, 0, 0, UDP_SOURCE_PORT),
        SockFilter::new(JUMP_EQUAL, 0, 3, port.into()),
        SockFilter::new(LOAD_WORD, 0, 0, IP_SOURCE),
        SockFilter::new(JUMP_EQUAL, 0, 1, host.into()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, EVERYTHING),
    ];
    if let Err(error) = group.attach_filter(&program) {
        tracing::debug!(target: "eventcast", %error, "own datagrams are dropped later");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn drop_echo(_group: &Socket, _host: Ipv4Addr, _port: u16) {}
