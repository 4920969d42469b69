//! Reading datagrams from one socket: the system calls, and nothing about when to make them.
//!
//! Contract of [`Source::read`]: it never blocks, hands every datagram whole to the callback, an
//! empty one too, and tells whether the socket was emptied. Readiness is edge-triggered, so a
//! socket that was not emptied must be read again without waiting.

use std::{io, net::SocketAddr};

/// The longest that a datagram can be, and what datagrams that the kernel joined may reach.
const BUFFER_SIZE: usize = 64 * 1024;

/// How many buffers one system call fills at most. More gains nothing that can be measured, and
/// the untouched pages of a buffer cost no memory.
const BUFFERS: usize = 32;

/// The buffers into which datagrams are read, shared by the sockets of one receiver.
pub(super) struct Buffers(Vec<u8>);

impl Buffers {
    pub(super) fn new() -> Self {
        Self(vec![0; BUFFERS * BUFFER_SIZE])
    }
}

/// What one call of [`Source::read`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// How many datagrams were handed over.
    pub(super) datagrams: usize,
    /// Nothing more was there.
    pub(super) drained: bool,
}

/// Something from which datagrams are read.
pub(super) trait Source {
    /// Reads some of what is there. `WouldBlock` when there is nothing.
    fn read(
        &mut self,
        buffers: &mut Buffers,
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> io::Result<Batch>;

    /// How many datagrams the kernel has dropped so far because this socket was not read in time;
    /// it reports the count with the next datagram.
    fn kernel_drops(&self) -> u64;
}

#[cfg(target_os = "linux")]
pub(super) use linux::UdpSource;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::UdpSource;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::{self, IoSliceMut},
        net::{SocketAddr, SocketAddrV4, SocketAddrV6},
        os::fd::AsRawFd,
        sync::Arc,
    };

    use mio::net::UdpSocket;
    use nix::{
        cmsg_space,
        sys::socket::{
            ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6,
            SockaddrLike, recvmmsg, recvmsg, setsockopt, sockopt,
        },
    };

    use super::{BUFFER_SIZE, BUFFERS, Batch, Buffers, Source};

    /// A socket that is read many datagrams a call.
    ///
    /// A single buffer may hold many datagrams of one sender (`UDP_GRO`), and one call may fill
    /// many buffers (`recvmmsg`). Which call is made follows the traffic: a lone datagram is read
    /// without any allocation; under load the headers of a batch are built again for each call,
    /// since the kernel writes into them how much room for control data it used.
    pub(in crate::net) struct UdpSource {
        socket: Arc<UdpSocket>,
        is_v6: bool,
        control: Vec<u8>,
        /// Reads since the socket was last empty.
        run: u32,
        drops: DropCount,
    }

    impl UdpSource {
        /// Takes a socket that does not block. What the kernel is too old for is left out.
        pub(in crate::net) fn new(socket: Arc<UdpSocket>) -> Self {
            let _ = setsockopt(&socket, sockopt::RxqOvfl, &1);
            let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
            Self {
                is_v6: socket.local_addr().is_ok_and(|own| own.is_ipv6()),
                socket,
                control: control_space(),
                run: 0,
                drops: DropCount::default(),
            }
        }

        fn read_one<A: Sender>(
            &mut self,
            buffer: &mut [u8],
            each: &mut dyn FnMut(SocketAddr, &[u8]),
        ) -> io::Result<Batch> {
            let mut slices = [IoSliceMut::new(buffer)];
            let message = recvmsg::<A>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            )?;
            Ok(Batch {
                datagrams: hand_over(&message, &mut self.drops, each),
                drained: false,
            })
        }

        fn read_many<A: Sender>(
            &mut self,
            count: usize,
            buffers: &mut [u8],
            each: &mut dyn FnMut(SocketAddr, &[u8]),
        ) -> io::Result<Batch> {
            let mut chunks = buffers.chunks_exact_mut(BUFFER_SIZE);
            let mut slices: [_; BUFFERS] =
                std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
            let mut headers = MultiHeaders::<A>::preallocate(count, Some(control_space()));
            let messages = recvmmsg(
                self.socket.as_raw_fd(),
                &mut headers,
                slices.iter_mut().take(count),
                MsgFlags::MSG_DONTWAIT,
                None,
            )?;
            let (mut filled, mut datagrams) = (0, 0);
            for message in messages {
                filled += 1;
                datagrams += hand_over(&message, &mut self.drops, each);
            }
            Ok(Batch {
                datagrams,
                drained: filled < count,
            })
        }
    }

    impl Source for UdpSource {
        fn read(
            &mut self,
            buffers: &mut Buffers,
            each: &mut dyn FnMut(SocketAddr, &[u8]),
        ) -> io::Result<Batch> {
            // 1, 1, 2, 4, 8, .. for as long as there is more.
            let count = 1 << self.run.saturating_sub(1).min(BUFFERS.ilog2());
            let result = match (count, self.is_v6) {
                (1, false) => self.read_one::<SockaddrIn>(&mut buffers.0[..BUFFER_SIZE], each),
                (1, true) => self.read_one::<SockaddrIn6>(&mut buffers.0[..BUFFER_SIZE], each),
                (_, false) => self.read_many::<SockaddrIn>(count, &mut buffers.0, each),
                (_, true) => self.read_many::<SockaddrIn6>(count, &mut buffers.0, each),
            };
            self.run = match &result {
                Ok(batch) if !batch.drained => self.run.saturating_add(1),
                _ => 0,
            };
            result
        }

        fn kernel_drops(&self) -> u64 {
            self.drops.total
        }
    }

    /// A sender's address, as the kernel writes it for one family.
    trait Sender: SockaddrLike + Copy {
        fn into_std(self) -> SocketAddr;
    }

    impl Sender for SockaddrIn {
        fn into_std(self) -> SocketAddr {
            SocketAddr::V4(SocketAddrV4::from(self))
        }
    }

    impl Sender for SockaddrIn6 {
        fn into_std(self) -> SocketAddr {
            SocketAddr::V6(SocketAddrV6::from(self))
        }
    }

    /// Room for the length of joined datagrams, and for the number of dropped ones.
    fn control_space() -> Vec<u8> {
        cmsg_space!(i32, u32)
    }

    /// Hands over what one buffer holds; how many datagrams that was.
    fn hand_over<A: Sender>(
        message: &RecvMsg<'_, '_, A>,
        drops: &mut DropCount,
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> usize {
        let mut segment_size = None;
        if let Ok(controls) = message.cmsgs() {
            for control in controls {
                match control {
                    ControlMessageOwned::UdpGroSegments(size) => {
                        segment_size = usize::try_from(size).ok().filter(|size| *size > 0);
                    }
                    ControlMessageOwned::RxqOvfl(count) => drops.update(count),
                    _ => {}
                }
            }
        }
        // Every datagram has a sender, and none is longer than the buffer.
        let (Some(from), false) = (message.address, message.flags.contains(MsgFlags::MSG_TRUNC))
        else {
            return 0;
        };
        let from = from.into_std();
        let bytes = message.iovs().next().unwrap_or_default();
        match segment_size {
            Some(size) if size < bytes.len() => {
                let datagrams = bytes.chunks(size);
                let count = datagrams.len();
                datagrams.for_each(|datagram| each(from, datagram));
                count
            }
            _ => {
                each(from, bytes);
                1
            }
        }
    }

    /// The kernel's count is 32 bits wide and wraps; this one does not.
    #[derive(Default)]
    struct DropCount {
        last: u32,
        total: u64,
    }

    impl DropCount {
        fn update(&mut self, count: u32) {
            self.total += u64::from(count.wrapping_sub(self.last));
            self.last = count;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::DropCount;

        #[test]
        fn the_drop_count_goes_on_where_the_kernels_wraps() {
            let mut drops = DropCount::default();
            drops.update(5);
            drops.update(u32::MAX);
            drops.update(4);
            assert_eq!(drops.total, u64::from(u32::MAX) + 5);
        }
    }
}

#[cfg(any(not(target_os = "linux"), test))]
mod portable {
    use std::{
        io::{self, ErrorKind},
        net::SocketAddr,
        sync::Arc,
    };

    use mio::net::UdpSocket;

    use super::{BUFFER_SIZE, BUFFERS, Batch, Buffers, Source};

    /// A socket that is read one datagram a call.
    pub(in crate::net) struct UdpSource {
        socket: Arc<UdpSocket>,
        /// The error came after some datagrams; the next call returns it.
        error: Option<io::Error>,
    }

    impl UdpSource {
        /// Takes a socket that does not block.
        pub(in crate::net) fn new(socket: Arc<UdpSocket>) -> Self {
            Self {
                socket,
                error: None,
            }
        }
    }

    impl Source for UdpSource {
        fn read(
            &mut self,
            buffers: &mut Buffers,
            each: &mut dyn FnMut(SocketAddr, &[u8]),
        ) -> io::Result<Batch> {
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            let buffer = &mut buffers.0[..BUFFER_SIZE];
            for datagrams in 0..BUFFERS {
                match self.socket.recv_from(buffer) {
                    Ok((len, from)) => each(from, &buffer[..len]),
                    Err(error) if datagrams == 0 => return Err(error),
                    Err(error) => {
                        let drained = error.kind() == ErrorKind::WouldBlock;
                        self.error = (!drained).then_some(error);
                        return Ok(Batch { datagrams, drained });
                    }
                }
            }
            Ok(Batch {
                datagrams: BUFFERS,
                drained: false,
            })
        }

        fn kernel_drops(&self) -> u64 {
            0
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn datagrams_are_read_one_by_one_until_none_is_left() {
            let bind = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let (a, b) = (bind(), bind());
            let to = b.local_addr().unwrap();
            b.set_nonblocking(true).unwrap();
            let mut source = UdpSource::new(Arc::new(UdpSocket::from_std(b)));
            for datagram in [&b"one"[..], b"", b"three"] {
                a.send_to(datagram, to).unwrap();
            }
            let mut got = Vec::new();
            let batch = source
                .read(&mut Buffers::new(), &mut |from, bytes| {
                    assert_eq!(from, a.local_addr().unwrap());
                    got.push(bytes.to_vec());
                })
                .unwrap();
            assert_eq!(
                batch,
                Batch {
                    datagrams: 3,
                    drained: true
                }
            );
            assert_eq!(got, [&b"one"[..], b"", b"three"]);
        }
    }
}
