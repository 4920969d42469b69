//! Sorts the system's errors: which of them pass by themselves, and which concern one datagram
//! alone.

use std::io::{self, ErrorKind};

/// The numbers of errors for which the standard library has no stable kind.
#[cfg(unix)]
mod number {
    use nix::errno::Errno;

    pub(super) const NO_BUFFER_SPACE: i32 = Errno::ENOBUFS as i32;
    pub(super) const TOO_LONG: i32 = Errno::EMSGSIZE as i32;
    pub(super) const NO_DEVICE: i32 = Errno::ENODEV as i32;
    /// Only a mistake of this program brings these.
    pub(super) const OWN_FAULT: [i32; 4] = [
        Errno::EBADF as i32,
        Errno::ENOTSOCK as i32,
        Errno::EFAULT as i32,
        Errno::EINVAL as i32,
    ];
}

#[cfg(windows)]
mod number {
    pub(super) const NO_BUFFER_SPACE: i32 = 10055;
    pub(super) const TOO_LONG: i32 = 10040;
    pub(super) const NO_DEVICE: i32 = 10050;
    /// Only a mistake of this program brings these.
    pub(super) const OWN_FAULT: [i32; 4] = [10009, 10038, 10014, 10022];
}

/// Whether receiving may simply go on after `error`.
///
/// Every error passes except those by which the descriptor is no socket: a bus that stopped
/// receiving because of an unknown error would look alive and be deaf.
pub(super) fn receive_passes(error: &io::Error) -> bool {
    !error
        .raw_os_error()
        .is_some_and(|number| number::OWN_FAULT.contains(&number))
}

/// What a refusal to send means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendRefusal {
    /// The socket's buffer is full: wait until it is writable.
    Full,
    /// Does not concern this datagram: an interruption, or the error of an earlier datagram.
    TryAgain,
    /// The system or the network is short of something: pause.
    Passing,
    /// This datagram is too long.
    TooLong,
    /// This datagram cannot go there.
    Final,
}

/// Sorts a refusal to send.
///
/// A network that is not reachable passes for the group, since everything goes there; one peer
/// that is not reachable must not hold up the rest, so there it is final.
pub(super) fn classify_send(error: &io::Error, to_group: bool) -> SendRefusal {
    match error.raw_os_error() {
        Some(number::NO_BUFFER_SPACE) => return SendRefusal::Passing,
        Some(number::TOO_LONG) => return SendRefusal::TooLong,
        Some(number::NO_DEVICE) if to_group => return SendRefusal::Passing,
        _ => {}
    }
    match error.kind() {
        ErrorKind::WouldBlock => SendRefusal::Full,
        ErrorKind::Interrupted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => {
            SendRefusal::TryAgain
        }
        ErrorKind::OutOfMemory => SendRefusal::Passing,
        ErrorKind::NetworkDown
        | ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::AddrNotAvailable
        // A packet filter that has no room for another connection returns this.
        | ErrorKind::PermissionDenied
            if to_group =>
        {
            SendRefusal::Passing
        }
        _ => SendRefusal::Final,
    }
}

/// Whether a refusal concerns the interface: it is down, was removed, or no longer has the address.
pub(super) fn is_about_interface(error: &io::Error) -> bool {
    error.raw_os_error() == Some(number::NO_DEVICE)
        || matches!(
            error.kind(),
            ErrorKind::NetworkDown
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable
        )
}

/// A system error for tests, by what it means.
#[cfg(all(test, unix))]
pub(super) mod testing {
    use nix::errno::Errno;
    use std::io;

    pub(in crate::net) fn os(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno as i32)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::{testing::os, *};
    use nix::errno::Errno;

    #[test]
    fn a_shortage_passes_wherever_it_goes() {
        for to_group in [true, false] {
            for errno in [Errno::ENOBUFS, Errno::ENOMEM] {
                assert_eq!(classify_send(&os(errno), to_group), SendRefusal::Passing);
            }
            assert_eq!(
                classify_send(&os(Errno::EAGAIN), to_group),
                SendRefusal::Full
            );
            assert_eq!(
                classify_send(&os(Errno::ECONNREFUSED), to_group),
                SendRefusal::TryAgain
            );
            assert_eq!(
                classify_send(&os(Errno::EMSGSIZE), to_group),
                SendRefusal::TooLong
            );
        }
    }

    #[test]
    fn one_peer_out_of_reach_does_not_hold_up_the_rest() {
        for errno in [
            Errno::ENETUNREACH,
            Errno::EHOSTUNREACH,
            Errno::ENETDOWN,
            Errno::EPERM,
        ] {
            assert_eq!(classify_send(&os(errno), true), SendRefusal::Passing);
            assert_eq!(classify_send(&os(errno), false), SendRefusal::Final);
        }
    }

    #[test]
    fn errors_of_the_interface_differ_from_shortages() {
        for errno in [
            Errno::ENETDOWN,
            Errno::ENETUNREACH,
            Errno::EADDRNOTAVAIL,
            Errno::ENODEV,
        ] {
            assert!(is_about_interface(&os(errno)), "{errno}");
        }
        for errno in [Errno::ENOBUFS, Errno::ENOMEM, Errno::EPERM, Errno::EMSGSIZE] {
            assert!(!is_about_interface(&os(errno)), "{errno}");
        }
    }

    #[test]
    fn receiving_ends_only_where_the_socket_is_none() {
        for errno in [
            Errno::ECONNRESET,
            Errno::ECONNREFUSED,
            Errno::EINTR,
            Errno::ENETDOWN,
            Errno::ENOMEM,
            Errno::EPROTO,
        ] {
            assert!(receive_passes(&os(errno)), "{errno}");
        }
        assert!(!receive_passes(&os(Errno::EBADF)));
    }
}
