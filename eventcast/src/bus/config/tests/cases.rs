//! The cases of every option.

/// What an option takes and what it refuses.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) other: &'static str,
    pub(super) variable: &'static str,
    /// As written in JSON, and the field's value in [`Config`] by its `Debug`.
    pub(super) files: &'static [(&'static str, &'static str)],
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// As written in JSON, and as the error shows it.
    pub(super) wrong_files: &'static [(&'static str, &'static str)],
    /// As written; the error shows it in quotes.
    pub(super) wrong_variables: &'static [&'static str],
    /// What follows "must be" in errors about a file and about a variable.
    pub(super) must_be: (&'static str, &'static str),
}

pub(super) const ID: &str =
    "1 to 64 bytes of text without control characters, and not sixteen zeros";
const ADDRESS: &str = "an address of this machine, such as 0.0.0.0 or ::";
const GROUP: &str = "a multicast address (224.0.0.0 to 239.255.255.255, or one of IPv6 that begins with ff, such as ff02::1234%eth0)";
const INTERFACE: &str =
    "\"default\", \"all\", an address of this machine, or the name of an interface";
const BUFFER: &str = "1 to 1,073,741,823 bytes";

/// 66 bytes, and 64.
const TOO_LONG: &str = "äääääääääääääääääääääääääääääääää";
const LONGEST: &str = "ääääääääääääääääääääääääääääääää";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "id",
        other: "id",
        variable: "EVENTCAST_ID",
        files: &[
            ("\"a\"", "\"a\""),
            ("\"00000000000000000\"", "\"00000000000000000\""),
        ],
        variables: &[
            (" a b ", "\" a b \""),
            ("5", "\"5\""),
            (LONGEST, "\"ääääääääääääääääääääääääääääääää\""),
        ],
        wrong_files: &[
            ("\"\"", "\"\""),
            ("\"0000000000000000\"", "\"0000000000000000\""),
            ("\"a\\nb\"", "\"a\\nb\""),
            ("5", "5"),
            ("[\"a\"]", "a list"),
        ],
        wrong_variables: &["", "0000000000000000", "a\u{7f}", TOO_LONG],
        must_be: (ID, ID),
    },
    Case {
        name: "address",
        other: "address",
        variable: "EVENTCAST_ADDRESS",
        files: &[
            ("\"127.0.0.1\"", "\"127.0.0.1\""),
            ("\"fd00::1\"", "\"fd00::1\""),
        ],
        variables: &[("0.0.0.0", "\"0.0.0.0\""), ("::", "\"::\"")],
        wrong_files: &[("\"localhost\"", "\"localhost\""), ("0", "0")],
        wrong_variables: &["", "127.0.0.1:9000", "127.0.0.256", "fe80::1%eth0"],
        must_be: (ADDRESS, ADDRESS),
    },
    Case {
        name: "port",
        other: "port",
        variable: "EVENTCAST_PORT",
        files: &[("0", "0"), ("9000", "9000"), ("65535", "65535")],
        variables: &[("0", "0"), (" 9000\r", "9000"), ("65535", "65535")],
        wrong_files: &[
            ("65536", "65536"),
            ("-1", "-1"),
            ("\"9000\"", "\"9000\""),
            ("9000.5", "9000.5"),
            ("true", "true"),
        ],
        wrong_variables: &["", "65536", "-1", "http", "9000.0"],
        must_be: (
            "0 to 65,535 (0: a random one)",
            "0 to 65,535 (0: a random one)",
        ),
    },
    Case {
        name: "multicast_membership",
        other: "multicastMembership",
        variable: "EVENTCAST_MULTICAST_MEMBERSHIP",
        files: &[
            ("\"224.0.0.0\"", "\"224.0.0.0\""),
            ("\"239.255.255.255\"", "\"239.255.255.255\""),
            ("\"ff05::1\"", "\"ff05::1\""),
        ],
        variables: &[
            ("239.192.0.1", "\"239.192.0.1\""),
            ("ff02::1234%eth0", "\"ff02::1234%eth0\""),
        ],
        wrong_files: &[
            ("\"223.255.255.255\"", "\"223.255.255.255\""),
            ("\"fe80::1\"", "\"fe80::1\""),
            ("{}", "{ }"),
        ],
        wrong_variables: &["", "240.0.0.0", "ff02::1%", "224.0.0.1%eth0"],
        must_be: (GROUP, GROUP),
    },
    Case {
        name: "multicast_interface",
        other: "multicastInterface",
        variable: "EVENTCAST_MULTICAST_INTERFACE",
        files: &[
            ("\"default\"", "\"default\""),
            ("\"127.0.0.1\"", "\"127.0.0.1\""),
            ("\"eth0\"", "\"eth0\""),
            ("\"all\"", "\"all\""),
        ],
        variables: &[("lo", "\"lo\""), ("all", "\"all\"")],
        wrong_files: &[("\"\"", "\"\""), ("1", "1")],
        wrong_variables: &["", "  ", "lo\n"],
        must_be: (INTERFACE, INTERFACE),
    },
    Case {
        name: "multicast_loopback",
        other: "multicastLoopback",
        variable: "EVENTCAST_MULTICAST_LOOPBACK",
        files: &[("true", "true"), ("false", "false")],
        variables: &[
            ("true", "true"),
            ("1", "true"),
            ("Yes", "true"),
            ("on", "true"),
            ("FALSE", "false"),
            ("0", "false"),
            ("no", "false"),
            (" off ", "false"),
        ],
        wrong_files: &[("\"true\"", "\"true\""), ("1", "1")],
        wrong_variables: &["", "2", "y"],
        must_be: (
            "true or false",
            "true or false (or 1 or 0, yes or no, on or off)",
        ),
    },
    Case {
        name: "multicast_ttl",
        other: "multicastTtl",
        variable: "EVENTCAST_MULTICAST_TTL",
        files: &[("0", "0"), ("255", "255")],
        variables: &[("0", "0"), ("255", "255")],
        wrong_files: &[("256", "256"), ("-1", "-1"), ("1.0", "1.0")],
        wrong_variables: &["256", "-1", ""],
        must_be: ("0 to 255", "0 to 255"),
    },
    Case {
        name: "unicast_port",
        other: "unicastPort",
        variable: "EVENTCAST_UNICAST_PORT",
        files: &[("0", "0"), ("65535", "65535")],
        variables: &[("9001", "9001")],
        wrong_files: &[("65536", "65536"), ("\"any\"", "\"any\"")],
        wrong_variables: &["65536", ""],
        must_be: (
            "0 to 65,535 (0: any that is free)",
            "0 to 65,535 (0: any that is free)",
        ),
    },
    Case {
        name: "receive_buffer",
        other: "receiveBuffer",
        variable: "EVENTCAST_RECEIVE_BUFFER",
        files: &[("1", "1"), ("1073741823", "1073741823")],
        variables: &[("8388608", "8388608")],
        wrong_files: &[
            ("0", "0"),
            ("1073741824", "1073741824"),
            ("\"8 MiB\"", "\"8 MiB\""),
        ],
        wrong_variables: &["0", "1073741824", "8M"],
        must_be: (BUFFER, BUFFER),
    },
    Case {
        name: "send_buffer",
        other: "sendBuffer",
        variable: "EVENTCAST_SEND_BUFFER",
        files: &[("1", "1"), ("1073741823", "1073741823")],
        variables: &[("8388608", "8388608")],
        wrong_files: &[("0", "0"), ("1073741824", "1073741824"), ("-5", "-5")],
        wrong_variables: &["0", "1073741824", "99999999999999999999999"],
        must_be: (BUFFER, BUFFER),
    },
    Case {
        name: "max_payload_size",
        other: "maxPayloadSize",
        variable: "EVENTCAST_MAX_PAYLOAD_SIZE",
        files: &[("64", "64"), ("60000", "60000")],
        variables: &[("64", "64"), ("60000", "60000")],
        wrong_files: &[("63", "63"), ("60001", "60001"), ("1e3", "1000.0")],
        wrong_variables: &["63", "60001", "1k"],
        must_be: ("64 to 60,000 bytes", "64 to 60,000 bytes"),
    },
    Case {
        name: "max_message_size",
        other: "maxMessageSize",
        variable: "EVENTCAST_MAX_MESSAGE_SIZE",
        files: &[("256", "256"), ("2147483647", "2147483647")],
        variables: &[("1000000", "1000000")],
        wrong_files: &[("255", "255"), ("2147483648", "2147483648")],
        wrong_variables: &["255", "2147483648"],
        must_be: ("256 to 2,147,483,647 bytes", "256 to 2,147,483,647 bytes"),
    },
    Case {
        name: "max_held_bytes",
        other: "maxHeldBytes",
        variable: "EVENTCAST_MAX_HELD_BYTES",
        files: &[("512", "512"), ("4000000000", "4000000000")],
        variables: &[("100000000", "100000000")],
        wrong_files: &[("511", "511"), ("-1", "-1")],
        wrong_variables: &["511", "-1"],
        must_be: (
            "at least 512 bytes, and twice `max_message_size`",
            "at least 512 bytes, and twice `max_message_size`",
        ),
    },
    Case {
        name: "history_bytes",
        other: "historyBytes",
        variable: "EVENTCAST_HISTORY_BYTES",
        files: &[("256", "256"), ("4000000000", "4000000000")],
        variables: &[("100000000", "100000000")],
        wrong_files: &[("255", "255"), ("-1", "-1")],
        wrong_variables: &["255", "-1"],
        must_be: (
            "at least 256 bytes, and `max_message_size`",
            "at least 256 bytes, and `max_message_size`",
        ),
    },
    Case {
        name: "message_ttl",
        other: "messageTtl",
        variable: "EVENTCAST_MESSAGE_TTL",
        files: &[
            ("3000", "3s"),
            ("1", "1ms"),
            ("1.5", "1.5ms"),
            ("\"250ms\"", "250ms"),
            ("\"10min\"", "600s"),
        ],
        variables: &[
            ("3000", "3s"),
            (" 1.5 ", "1.5ms"),
            ("3s", "3s"),
            ("1m 30s", "90s"),
        ],
        wrong_files: &[
            ("0", "0"),
            ("-5", "-5"),
            ("600001", "600001"),
            ("0.9", "0.9"),
            ("\"3000\"", "\"3000\""),
            ("\"0\"", "\"0\""),
            ("\"3 parsecs\"", "\"3 parsecs\""),
            ("true", "true"),
        ],
        wrong_variables: &[
            "", "0", "-5", "-5s", "600001", "11min", "nan", "inf", "1e300",
        ],
        must_be: (
            "1 ms to 10 min: a number of milliseconds, or a text with a unit as in \"3s\"",
            "1 ms to 10 min: a number of milliseconds, or with a unit as in 3s",
        ),
    },
    Case {
        name: "message_retransmit_attempts",
        other: "messageRetransmitAttempts",
        variable: "EVENTCAST_MESSAGE_RETRANSMIT_ATTEMPTS",
        files: &[("0", "0"), ("100", "100")],
        variables: &[("0", "0"), ("100", "100")],
        wrong_files: &[("101", "101"), ("-1", "-1"), ("\"3\"", "\"3\"")],
        wrong_variables: &["101", "-1", ""],
        must_be: ("0 to 100", "0 to 100"),
    },
    Case {
        name: "heartbeat",
        other: "heartbeat",
        variable: "EVENTCAST_HEARTBEAT",
        files: &[("10", "10ms"), ("\"1min\"", "60s")],
        variables: &[("10", "10ms"), ("1m", "60s")],
        wrong_files: &[("9", "9"), ("60001", "60001")],
        wrong_variables: &["9ms", "61s"],
        must_be: (
            "10 ms to 1 min: a number of milliseconds, or a text with a unit as in \"3s\"",
            "10 ms to 1 min: a number of milliseconds, or with a unit as in 3s",
        ),
    },
    Case {
        name: "peer_timeout",
        other: "peerTimeout",
        variable: "EVENTCAST_PEER_TIMEOUT",
        files: &[("20", "20ms"), ("\"10min\"", "600s")],
        variables: &[("20", "20ms"), ("10m", "600s")],
        wrong_files: &[("19", "19"), ("600001", "600001")],
        wrong_variables: &["19ms", "11min"],
        must_be: (
            "20 ms to 10 min: a number of milliseconds, or a text with a unit as in \"3s\"",
            "20 ms to 10 min: a number of milliseconds, or with a unit as in 3s",
        ),
    },
    Case {
        name: "best_effort",
        other: "bestEffort",
        variable: "EVENTCAST_BEST_EFFORT",
        files: &[("true", "true"), ("false", "false")],
        variables: &[("yes", "true"), ("0", "false")],
        wrong_files: &[("\"true\"", "\"true\""), ("1", "1")],
        wrong_variables: &["maybe", ""],
        must_be: (
            "true or false",
            "true or false (or 1 or 0, yes or no, on or off)",
        ),
    },
    Case {
        name: "send_queue",
        other: "sendQueue",
        variable: "EVENTCAST_SEND_QUEUE",
        files: &[("65536", "65536")],
        variables: &[("65536", "65536")],
        wrong_files: &[("65535", "65535"), ("[]", "a list")],
        wrong_variables: &["65535"],
        must_be: ("at least 65,536 bytes", "at least 65,536 bytes"),
    },
    Case {
        name: "listener_budget",
        other: "listenerBudget",
        variable: "EVENTCAST_LISTENER_BUDGET",
        files: &[
            ("1", "1ms"),
            ("0.5", "500µs"),
            ("\"10us\"", "10µs"),
            ("60000", "60s"),
        ],
        variables: &[("5ms", "5ms"), ("0.01", "10µs")],
        wrong_files: &[("0", "0"), ("\"9us\"", "\"9us\""), ("60001", "60001")],
        wrong_variables: &["0", "9us", "61s"],
        must_be: (
            "10 us to 60 s: a number of milliseconds, or a text with a unit as in \"3s\"",
            "10 us to 60 s: a number of milliseconds, or with a unit as in 3s",
        ),
    },
    Case {
        name: "listener_queue",
        other: "listenerQueue",
        variable: "EVENTCAST_LISTENER_QUEUE",
        files: &[
            ("1", "ListenerQueue { events: 1, bytes: 16777216 }"),
            ("{}", "ListenerQueue { events: 16384, bytes: 16777216 }"),
            (
                "{\"bytes\": 1}",
                "ListenerQueue { events: 16384, bytes: 1 }",
            ),
            (
                "{\"bytes\": 7, \"events\": 5}",
                "ListenerQueue { events: 5, bytes: 7 }",
            ),
        ],
        variables: &[
            ("1", "ListenerQueue { events: 1, bytes: 16777216 }"),
            ("bytes=7", "ListenerQueue { events: 16384, bytes: 7 }"),
            (
                " events = 5 , bytes = 7 ",
                "ListenerQueue { events: 5, bytes: 7 }",
            ),
        ],
        wrong_files: &[
            ("0", "0"),
            ("{\"events\": 0}", "{ events: 0 }"),
            ("{\"bytes\": 0}", "{ bytes: 0 }"),
            ("{\"events\": 1, \"event\": 2}", "{ events: 1, event: 2 }"),
            ("{\"events\": 1, \"events\": 2}", "{ events: 1, events: 2 }"),
            ("{\"events\": null}", "{ events: null }"),
            ("\"5\"", "\"5\""),
        ],
        wrong_variables: &[
            "",
            "0",
            "events=0",
            "bytes=0",
            "events=1,events=2",
            "events=1,",
            "event=1",
            "5,7",
        ],
        must_be: (
            "at least 1 event and 1 byte: a number of events, or a table of `events` and `bytes`",
            "at least 1 event and 1 byte: a number of events, or as in events=1000,bytes=1000000",
        ),
    },
    Case {
        name: "max_listeners",
        other: "maxListeners",
        variable: "EVENTCAST_MAX_LISTENERS",
        files: &[("0", "0"), ("1000", "1000")],
        variables: &[("0", "0"), ("1000", "1000")],
        wrong_files: &[("-1", "-1"), ("\"none\"", "\"none\"")],
        wrong_variables: &["-1", "none", ""],
        must_be: (
            "a whole number from 0 (0: no warning)",
            "a whole number from 0 (0: no warning)",
        ),
    },
    Case {
        name: "old_peers",
        other: "oldPeers",
        variable: "EVENTCAST_OLD_PEERS",
        files: &[("true", "true"), ("false", "false")],
        variables: &[("true", "true"), ("0", "false")],
        wrong_files: &[("\"yes\"", "\"yes\""), ("1", "1")],
        wrong_variables: &["", "maybe"],
        must_be: (
            "true or false",
            "true or false (or 1 or 0, yes or no, on or off)",
        ),
    },
];
