use serde::de::Error as _;

use super::*;
use crate::{
    proto::{Event, Refused},
    text::{HOSTILE, assert_is_printable},
};

#[test]
fn texts_from_other_machines_stay_on_one_line() {
    for &text in HOSTILE {
        let owned = || text.to_owned();
        let address = SocketAddr::from(([192, 0, 2, 7], 9_000));
        let peer = Arc::new(Peer {
            id: owned(),
            incarnation: Some(1),
            hostname: owned(),
            host: owned(),
            port: 1,
            address,
        });
        let origin = Origin::local(Arc::clone(&peer), 0, None);
        let (key, listener, registered_at) = (owned(), ListenerId(1), Location::caller());
        let notices = [
            Notice::Warning { text: owned() },
            Notice::InterfaceJoined {
                name: owned(),
                address: address.ip(),
                count: 2,
            },
            Notice::InterfaceLeft {
                name: owned(),
                address: address.ip(),
                count: 2,
                reason: InterfaceLeftReason::Down,
            },
            Notice::Failed {
                during: "reading",
                message: owned(),
            },
            Notice::DecodeFailure {
                key: key.clone(),
                listener,
                registered_at,
                sender: origin.clone(),
                error: DecodeError::custom(text),
                count: 2,
            },
            Notice::IdClash {
                id: owned(),
                from: address,
                other: None,
                count: 1,
            },
            Notice::NobodyHeard {
                group: address,
                interfaces: vec![owned(), owned()],
                refused: 1,
            },
            Notice::Lost {
                peer: Arc::clone(&peer),
                first: 1,
                last: 2,
                count: 2,
                ranges: vec![(1, 2)],
                peers: 1,
                reason: LostReason::Unanswered,
                unicast_heard: false,
            },
            Notice::PeerJoined {
                peer: Arc::clone(&peer),
            },
            Notice::PeerLeft {
                peer: Arc::clone(&peer),
                reason: LeftReason::Silent,
            },
            Notice::ListenerSlow {
                key: key.clone(),
                listener,
                registered_at,
                budget: Duration::from_millis(1),
                count: 2,
            },
            Notice::ListenerMissed {
                key: key.clone(),
                listener,
                registered_at,
                missed: 3,
                count: 2,
            },
            Notice::ListenerPanicked {
                key,
                listener,
                registered_at,
                message: owned(),
                count: 2,
            },
            Notice::ConsoleRefused {
                cause: ConsoleRefusedCause::Token,
                from: Some(address),
                text: owned(),
                count: 2,
            },
        ];
        for notice in notices {
            assert_is_printable(&notice.to_string());
            assert_is_printable(&format!("{notice:?}"));
        }
        for shown in [
            peer.to_string(),
            origin.to_string(),
            format!("{peer:?}"),
            format!("{origin:?}"),
        ] {
            assert_is_printable(&shown);
        }
    }
}

#[test]
fn a_notice_of_refused_datagrams_advises_by_cause() {
    let from = SocketAddr::from(([127, 0, 0, 1], 9_000));
    let text_of = |cause, unopened, clock_ahead_ms| {
        let refused = Refused {
            cause,
            from: Some(from),
            count: 2,
            unopened,
            clock_ahead_ms,
            age_ms: matches!(cause, DropCause::Duplicate | DropCause::Old).then_some(5_999),
            refused_for_ms: (cause == DropCause::Old).then_some(41_001),
        };
        let notice = Notice::of_protocol(&Event::Refused(refused), |_| true);
        notice.expect("refused datagrams are reported").to_string()
    };
    for (cause, ahead, said) in [
        (DropCause::Clear, None, "probably has no passphrase"),
        (DropCause::Sealed, None, "this bus has none"),
        (DropCause::Classic, None, "an old peer with a passphrase"),
        (
            DropCause::Undecryptable,
            None,
            "probably has another passphrase",
        ),
        (DropCause::Time, Some(-30_001), "31 s behind this one"),
        (DropCause::Time, Some(90_000), "90 s ahead of this one"),
        (DropCause::Duplicate, None, "sent 5 s ago"),
        (
            DropCause::Old,
            None,
            "it was sent 6 s ago, before this bus was started",
        ),
        (DropCause::Old, None, "set the clocks, or wait 42 s"),
        (DropCause::Malformed, None, "another program probably uses"),
        (DropCause::OverLimit, None, "`max_message_size`"),
        (DropCause::Crowded, None, "`max_held_bytes`"),
        (DropCause::Reserved, None, "runs a newer version"),
        (
            DropCause::Inconsistent,
            None,
            "two senders probably use one id",
        ),
        (DropCause::Recipient, None, "for another bus"),
        (DropCause::Sender, None, "poses as another"),
        (DropCause::Posed, None, "is heard at another address"),
        (DropCause::Unfollowed, None, "order and repair are off"),
    ] {
        let text = text_of(cause, false, ahead);
        // Datagrams of a sender that is not followed are delivered.
        let fate = match cause {
            DropCause::Unfollowed => "not followed",
            _ => "dropped",
        };
        let start = format!("2 datagrams {fate} from {from}: {} (", cause.name());
        assert!(text.starts_with(&start) && text.contains(said), "{text}");
    }
    // The same text for all causes of an unopened seal.
    let texts = [
        DropCause::Malformed,
        DropCause::Suite,
        DropCause::Key,
        DropCause::Mac,
    ];
    let texts = texts.map(|cause| text_of(cause, true, None));
    assert!(texts[0].contains("probably has another passphrase"));
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}
