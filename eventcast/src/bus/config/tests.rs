//! Every single option: spellings, files, variables, ranges. The cases are in one table, and a test
//! fails if an option has no case.

mod cases;

use std::{ffi::OsString, time::Duration};

use proptest::prelude::*;
use serde::Deserialize;

use super::{options::Layers, value::Raw, *};
use crate::text::assert_is_printable;
use cases::{CASES, ID};

fn from_json(text: &str) -> Result<Config, String> {
    serde_json::from_str(text).map_err(|error| {
        // Without the line, which serde_json adds.
        let text = error.to_string();
        text.split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    let read = Variables::read(variables.iter().copied());
    assert_eq!(read.unknown, []);
    match read.config.wrong.first() {
        Some(error) => Err(error.to_string()),
        None => Ok(read.config),
    }
}

/// The error for a variable. Also checks that no option is set.
fn wrong_variable(name: &str, value: impl AsRef<std::ffi::OsStr>) -> ConfigError {
    let mut read = Variables::read([(name, value)]);
    assert_eq!(read.config.wrong.len(), 1);
    let error = read.config.wrong.remove(0);
    assert_eq!(read.config, Config::default());
    error
}

/// Name and value of the fields that are set, parsed from `Debug`.
fn given(config: &Config) -> Vec<(String, String)> {
    let text = format!("{config:#?}");
    let mut given: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            continue;
        };
        match line.split_once(": ") {
            Some((name, value)) if !line.starts_with(' ') => {
                given.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                if let Some((_, value)) = given.last_mut() {
                    value.push_str(line.trim());
                }
            }
        }
    }
    given.retain(|(name, value)| name != "wrong" && value != "None,");
    for (_, value) in &mut given {
        let inner = value.trim_start_matches("Some(").trim_end_matches(',');
        let inner = inner
            .strip_suffix(')')
            .unwrap_or(inner)
            .trim_end_matches(',');
        *value = inner
            .replace("{events", "{ events")
            .replace(",bytes", ", bytes")
            .replace(",}", " }");
    }
    given
}

#[test]
fn every_option_has_a_case_and_regular_names() {
    let names: Vec<_> = TABLE.iter().map(Entry::name).collect();
    let cases: Vec<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names, cases);
    for (entry, case) in TABLE.iter().zip(CASES) {
        assert_eq!(
            entry.variable,
            format!("EVENTCAST_{}", case.name.to_uppercase())
        );
        assert_eq!(entry.variable, case.variable);
        let mut camel = String::new();
        for (i, word) in case.name.split('_').enumerate() {
            let (first, rest) = word.split_at(1);
            camel += &if i == 0 {
                first.to_owned()
            } else {
                first.to_uppercase()
            };
            camel += rest;
        }
        // The old module has the passphrase in a nested table.
        let other = if case.name == "passphrase" {
            "encrypt"
        } else {
            &camel
        };
        assert_eq!(case.other, other);
        assert_eq!(entry.names.last(), Some(&case.other));
    }
}

#[test]
fn files_in_both_spellings() {
    for case in CASES {
        for (written, value) in case.files {
            for name in [case.name, case.other] {
                let config = from_json(&format!("{{\"{name}\": {written}}}")).unwrap();
                assert_eq!(
                    given(&config),
                    [(case.name.to_owned(), (*value).to_owned())]
                );
            }
        }
    }
}

#[test]
fn variables_of_every_option() {
    for case in CASES {
        for (written, value) in case.variables {
            let config = from_variables(&[(case.variable, written)]).unwrap();
            assert_eq!(
                given(&config),
                [(case.name.to_owned(), (*value).to_owned())]
            );
        }
    }
}

#[test]
fn wrong_values_in_files() {
    for case in CASES {
        for (written, shown) in case.wrong_files {
            for name in [case.name, case.other] {
                let config = from_json(&format!("{{\"{name}\": {written}}}")).unwrap();
                assert_eq!(given(&config), []);
                let errors = config.all_wrong(ConfigLayer::File);
                assert_eq!(
                    errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    [format!(
                        "option `{name}` (from the configuration) is {shown}, but must be {}",
                        case.must_be.0
                    )]
                );
                assert_eq!(errors[0].option(), case.name);
                assert_eq!(errors[0].layer(), ConfigLayer::File);
                assert_eq!(errors[0].value(), *shown);
                assert_eq!(errors[0].allowed(), case.must_be.0);
            }
        }
    }
}

/// The other options that an option needs to take effect.
fn with_what_it_needs(name: &str) -> Config {
    match name {
        "repl_port" | "repl_host" | "repl_token" => Config {
            repl: Some(true),
            ..Config::default()
        },
        "key_salt" | "clock_tolerance" => Config {
            passphrase: Some("alpha bravo charlie".into()),
            ..Config::default()
        },
        _ => Config::default(),
    }
}

#[test]
fn a_wrong_value_in_a_file_is_an_error_of_build_if_it_takes_effect() {
    for case in CASES {
        for (written, shown) in case.wrong_files {
            let file = from_json(&format!("{{\"{}\": {written}}}", case.other)).unwrap();
            let layers = Layers {
                file: file.or(with_what_it_needs(case.name)),
                ..Layers::default()
            };
            let error = layers.resolve(|| 0).map(drop).unwrap_err();
            let text = format!(
                "option `{}` (from the configuration) is {shown}",
                case.other
            );
            assert!(error.to_string().starts_with(&text), "{error}");
        }
    }
}

#[test]
fn a_wrong_value_in_a_file_is_a_warning_if_a_higher_layer_overrides_it() {
    for case in CASES {
        for (written, shown) in case.wrong_files {
            let wrong = from_json(&format!("{{\"{}\": {written}}}", case.other)).unwrap();
            let text = format!(
                "option `{}` (from the configuration) is {shown}, but must be {}; it has no effect, because the ",
                case.other, case.must_be.0
            );
            // Some values conflict with the default of another option.
            let resolved = |to_layers: &dyn Fn(Config) -> Layers| {
                let mut rights = case.files.iter().map(|(right, _)| {
                    let right = from_json(&format!("{{\"{}\": {right}}}", case.name));
                    right.unwrap().or(with_what_it_needs(case.name))
                });
                // There is no such file.
                let by_text = Some("alpha bravo charlie".into());
                let by_text = (case.name == "passphrase_file").then(|| Config {
                    passphrase: by_text,
                    ..Config::default()
                });
                let first = rights.find_map(|right| to_layers(right).resolve(|| 0).ok());
                first.or_else(|| to_layers(by_text?).resolve(|| 0).ok())
            };
            let builder = |right| Layers {
                builder: right,
                file: wrong.clone(),
                ..Layers::default()
            };
            let environment = |config| Layers {
                environment: Variables {
                    config,
                    ..Variables::default()
                },
                file: wrong.clone(),
                ..Layers::default()
            };
            // Of two files, the upper one takes effect.
            let files = |right: Config| Layers {
                file: right.or(wrong.clone()),
                ..Layers::default()
            };
            for (place, to_layers) in [
                ("builder", &builder as &dyn Fn(Config) -> Layers),
                ("environment", &environment),
                ("configuration", &files),
            ] {
                // There is no console in this program.
                if cfg!(not(feature = "repl")) && case.name.starts_with("repl_") {
                    continue;
                }
                // One layer may set only one of these two.
                if case.name == "passphrase_file" && place == "configuration" {
                    continue;
                }
                let (_, mut warnings) =
                    resolved(to_layers).unwrap_or_else(|| panic!("{}", case.name));
                // Most of these set no port.
                warnings.retain(|warning| !warning.starts_with("no `port` was given"));
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                assert!(warnings[0].starts_with(&text), "{warnings:?}");
                assert!(warnings[0].contains(place), "{warnings:?}");
            }
        }
    }
}

#[test]
fn a_value_that_replaces_a_wrong_one_takes_effect() {
    let mut config = from_json(r#"{"port": 70000, "id": "me"}"#).unwrap();
    let copy = config.clone();
    assert_eq!(copy, config);
    assert_ne!(copy, from_json(r#"{"id": "me"}"#).unwrap());
    let resolve = |file: &Config| {
        let file = file.clone();
        let layers = Layers {
            file,
            ..Layers::default()
        };
        layers.resolve(|| 0).map_err(|error| error.to_string())
    };
    let wrong = "option `port` (from the configuration) is 70000, but must be 0 to 65,535 (0: a random one)";
    assert_eq!(resolve(&config), Err(wrong.to_owned()));
    // A wrong value overrides a right one of a lower layer, as a right value would.
    let lower = from_json(r#"{"port": 9000}"#).unwrap();
    let merged = config.clone().or(lower.clone());
    assert_eq!(
        (merged.port, resolve(&merged)),
        (None, Err(wrong.to_owned()))
    );
    let merged = lower.or(config.clone());
    assert_eq!(resolve(&merged).unwrap().0.port, 9000);

    config.port = Some(9001);
    let (options, warnings) = resolve(&config).unwrap();
    assert_eq!(options.port, 9001);
    assert_eq!(
        warnings,
        [format!(
            "{wrong}; it has no effect, because the configuration gives another value"
        )]
    );
    // A wrong value that the program sets is an error.
    config.id = Some(String::new());
    let error = resolve(&config).unwrap_err();
    assert!(
        error.starts_with("option `id` (from the configuration) is \"\""),
        "{error}"
    );
}

/// Also values that no option takes. No single file format has all of them.
#[test]
fn every_kind_of_value_is_read_before_it_is_refused() {
    use serde::de::value::{
        BytesDeserializer, Error, I128Deserializer, MapAccessDeserializer, MapDeserializer,
        StringDeserializer, U128Deserializer,
    };
    fn shown<'de, D: serde::Deserializer<'de, Error = Error>>(value: D) -> String {
        Raw::deserialize(value).unwrap().to_string()
    }
    assert_eq!(shown(BytesDeserializer::new(b"ab")), "bytes");
    assert_eq!(
        shown(I128Deserializer::new(i128::MIN)),
        i128::MIN.to_string()
    );
    assert_eq!(
        shown(U128Deserializer::new(u128::MAX)),
        i128::MAX.to_string()
    );
    assert_eq!(
        shown(StringDeserializer::new("a\nb".to_owned())),
        "\"a\\nb\""
    );
    let keys = MapDeserializer::new([(5_u8, true)].into_iter());
    assert_eq!(shown(MapAccessDeserializer::new(keys)), "{ 5: true }");
    let keys = MapDeserializer::new([("a\u{202e}b", 1_u8)].into_iter());
    assert_eq!(
        shown(MapAccessDeserializer::new(keys)),
        "{ a\\u{202e}b: 1 }"
    );
}

#[test]
fn wrong_values_in_variables() {
    for case in CASES {
        for written in case.wrong_variables {
            let error = wrong_variable(case.variable, written);
            assert_eq!(
                error.to_string(),
                format!(
                    "option `{}` (from the variable {}) is {written:?}, but must be {}",
                    case.name, case.variable, case.must_be.1
                )
            );
            assert_eq!(error.option(), case.name);
            assert_eq!(error.layer(), ConfigLayer::Environment);
            assert_eq!(error.value(), format!("{written:?}"));
            assert_eq!(error.allowed(), case.must_be.1);
        }
    }
}

#[test]
fn secrets_never_show() {
    let shown = "option `passphrase` (from the variable EVENTCAST_PASSPHRASE) is a value that is not shown, but must \
                 be a passphrase that is not empty, or a ready key of at least 32 bytes";
    let empty = wrong_variable("EVENTCAST_PASSPHRASE", "");
    assert_eq!(empty.to_string(), shown);
    for text in [
        "{\"passphrase\": [\"alpha\"]}",
        "{\"passphrase\": {\"word\": \"alpha\"}}",
        "{\"encrypt\": {\"key\": {\"alpha\": 1}}}",
        "{\"encrypt\": {\"key\": \"alpha\", \"key\": \"alpha\"}}",
        "{\"repl_token\": \"alpha\\n\"}",
        "{\"replToken\": [\"alpha\"]}",
    ] {
        let config = from_json(text).unwrap();
        let error = config.all_wrong(ConfigLayer::File).remove(0);
        let shown = format!("{error} {error:?} {config:#?}");
        assert!(!shown.contains("alpha"), "{shown}");
    }
    let twice = from_json("{\"passphrase\": \"alpha\", \"passphrase\": \"alpha\"}").unwrap_err();
    assert!(!twice.contains("alpha"), "{twice}");
    let config = from_json("{\"passphrase\": \"alpha\", \"repl_token\": \"alpha\"}").unwrap();
    let builder = Builder::new().config(config.clone()).passphrase("alpha");
    let builder = builder.receive_with("alpha").repl_token("alpha");
    let shown = format!("{config:?} {builder:#?}");
    assert!(!shown.contains("alpha"), "{shown}");
}

#[test]
fn numbers_as_a_program_with_arbitrary_precision_reads_them() {
    let number = |digits: &str| format!("{{\"$serde_json::private::Number\": \"{digits}\"}}");
    let text = format!(
        r#"{{"port": {}, "message_ttl": {}, "listener_queue": {{"events": {}}}}}"#,
        number("9000"),
        number("1.5"),
        number("7"),
    );
    let config = from_json(&text).unwrap();
    assert_eq!(config.port, Some(9000));
    assert_eq!(config.message_ttl, Some(Duration::from_micros(1_500)));
    assert_eq!(config.listener_queue.map(|queue| queue.events), Some(7));
    let wrong = from_json(&format!(r#"{{"port": {}}}"#, number("-1"))).unwrap();
    assert_eq!(wrong.all_wrong(ConfigLayer::File)[0].value(), "-1");
}

#[test]
fn an_unknown_key_is_shown_without_control_characters() {
    let error = from_json("{\"prt\\u001b]0;owned\\u0007\": 1}").unwrap_err();
    assert_is_printable(&error);
    let name = "EVENTCAST_PRT\u{1b}[31m";
    let read = Variables::read([(name, "1")]);
    for text in UnknownVariable::describe(&read.unknown) {
        assert_is_printable(&text);
    }
}

#[test]
fn null_is_not_given() {
    for case in CASES {
        assert_eq!(
            from_json(&format!("{{\"{}\": null}}", case.other)),
            Ok(Config::default())
        );
    }
}

#[test]
fn an_option_that_is_twice_in_a_file_is_an_error() {
    for case in CASES {
        let (name, other, value) = (case.name, case.other, case.files[0].0);
        let twice = from_json(&format!("{{\"{name}\": {value}, \"{name}\": {value}}}"));
        assert_eq!(
            twice,
            Err(format!("option `{name}` is given twice: keep one"))
        );
        if name != other {
            let both = from_json(&format!("{{\"{other}\": null, \"{name}\": {value}}}"));
            let error =
                format!("option `{name}` is given twice, as `{other}` and as `{name}`: keep one");
            assert_eq!(both, Err(error));
        }
    }
}

#[test]
fn unknown_keys() {
    let suggestions = [
        ("multicast_tll", "multicast_ttl"),
        ("multicastTll", "multicastTtl"),
        ("multicast-ttl", "multicast_ttl"),
        ("MULTICAST_TTL", "multicast_ttl"),
        ("maxpayloadsize", "maxPayloadSize"),
        ("max_payload_sizes", "max_payload_size"),
        ("prot", "port"),
        ("adress", "address"),
        ("listener_queues", "listener_queue"),
    ];
    for (written, meant) in suggestions {
        let error = from_json(&format!("{{\"port\": 1, \"{written}\": 1}}"));
        assert_eq!(
            error,
            Err(format!(
                "unknown option `{written}`: did you mean `{meant}`?"
            ))
        );
    }
    let long = "port".repeat(1000);
    for stranger in ["colour", "", &long] {
        let error = from_json(&format!("{{\"{stranger}\": 1}}")).unwrap_err();
        let start = format!(
            "unknown option `{stranger}`: the options are id, address, port, multicast_mem"
        );
        assert!(error.starts_with(&start), "{error}");
        assert!(error.ends_with("repl_host, repl_token"), "{error}");
    }
}

#[test]
fn a_value_that_is_no_table_is_an_error() {
    assert_eq!(
        from_json("5"),
        Err("invalid type: integer `5`, expected a table of eventcast's options".to_owned())
    );
}

#[test]
fn an_error_of_toml_has_the_line() {
    let config: Config = toml::from_str(
        "port = 9000\nmulticastTtl = 4\nmessage_ttl = '5s'\nlistener_budget = 0.5\n\
         [listener_queue]\nevents = 100\n",
    )
    .unwrap();
    let expected = Config {
        port: Some(9000),
        multicast_ttl: Some(4),
        message_ttl: Some(Duration::from_secs(5)),
        listener_budget: Some(Duration::from_micros(500)),
        listener_queue: Some(ListenerQueue {
            events: 100,
            ..ListenerQueue::DEFAULT
        }),
        ..Config::default()
    };
    assert_eq!(config, expected);

    let error = toml::from_str::<Config>("prot = 9000\n").unwrap_err();
    assert_eq!(
        error.message(),
        "unknown option `prot`: did you mean `port`?"
    );
    assert!(error.to_string().contains("line 1"), "{error}");

    // Only TOML has dates.
    let wrong = "multicastTtl = 256\nport = 2026-01-01\n";
    let config = toml::from_str::<Config>(wrong).unwrap();
    let errors = config.all_wrong(ConfigLayer::File);
    assert_eq!(
        errors[0].to_string(),
        "option `multicastTtl` (from the configuration) is 256, but must be 0 to 255"
    );
    assert_eq!(errors[1].value(), "2026-01-01");
}

#[test]
fn inside_another_configuration() {
    #[derive(Deserialize)]
    struct Nested {
        eventcast: Config,
    }
    #[derive(Deserialize)]
    struct Flat {
        colour: String,
        #[serde(flatten)]
        eventcast: Config,
    }
    let expected = Config {
        multicast_ttl: Some(3),
        ..Config::default()
    };
    let nested: Nested = serde_json::from_str(r#"{"eventcast": {"multicastTtl": 3}}"#).unwrap();
    assert_eq!(nested.eventcast, expected);
    let flat: Flat = serde_json::from_str(r#"{"multicastTtl": 3, "colour": "red"}"#).unwrap();
    assert_eq!((flat.eventcast, flat.colour.as_str()), (expected, "red"));
}

/// The two forms in the documentation.
#[test]
fn a_mistyped_key_is_an_error_where_the_configuration_is_nested() {
    #[derive(Debug, Deserialize)]
    struct Nested {
        #[expect(dead_code, reason = "it is an error before")]
        eventcast: Config,
    }
    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        eventcast: Config,
    }
    let nested = toml::from_str::<Nested>("[eventcast]\nmulticast_ttl = 2\nprot = 9000\n");
    let error = nested.unwrap_err();
    assert_eq!(
        error.message(),
        "unknown option `prot`: did you mean `port`?"
    );
    assert!(error.to_string().contains("line 3"), "{error}");
    // Serde ignores it in a flattened configuration, which is why the documentation advises against
    // that.
    let flat: Flat = toml::from_str("multicast_ttl = 2\nprot = 9000\n").unwrap();
    assert_eq!(
        (flat.eventcast.multicast_ttl, flat.eventcast.port),
        (Some(2), None)
    );
    // Known keys are still checked, in both spellings.
    let flat: Flat = toml::from_str("port = 70000\n").unwrap();
    assert_eq!(flat.eventcast.all_wrong(ConfigLayer::File).len(), 1);
    toml::from_str::<Flat>("multicast_ttl = 2\nmulticastTtl = 2\n").unwrap_err();
}

#[test]
fn unknown_variables_with_the_prefix_are_found() {
    let read = Variables::read([
        ("PATH", "/bin"),
        ("PORT", "1"),
        ("eventcast_port", "1"),
        ("EVENTCAST_LOG", "debug"),
        ("EVENTCAST_TEST_SEED", "5"),
        ("EVENTCAST_PROT", "9000"),
        ("EVENTCAST_LOGS", "debug"),
        ("EVENTCAST_COLOUR_OF_THE_CONSOLE", "red"),
        ("EVENTCAST_PORT", "9001"),
    ]);
    assert_eq!(
        read.config,
        Config {
            port: Some(9001),
            ..Config::default()
        }
    );
    let warnings: Vec<_> = read.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "the variable EVENTCAST_PROT is not known, and does nothing: did you mean EVENTCAST_PORT?",
            "the variable EVENTCAST_LOGS is not known, and does nothing: did you mean EVENTCAST_LOG?",
            "the variable EVENTCAST_COLOUR_OF_THE_CONSOLE is not known, and does nothing",
        ]
    );
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![b'a', 0xff]);
    let error = wrong_variable("EVENTCAST_ID", odd());
    assert_eq!(
        error.to_string(),
        format!("option `id` (from the variable EVENTCAST_ID) is \"a\\xFF\", but must be {ID}")
    );
    // Other variables need not be UTF-8.
    let passed = Variables::read([(OsString::from("HOME"), odd()), (odd(), odd())]);
    assert_eq!(passed, Variables::default());
}

#[test]
fn or_prefers_the_upper_one() {
    let all: Vec<(Config, Config)> = CASES
        .iter()
        .map(|case| {
            let name = case.name;
            let value =
                |i: usize| from_json(&format!("{{\"{name}\": {}}}", case.files[i].0)).unwrap();
            (value(0), value(case.files.len() - 1))
        })
        .collect();
    let mut everything = Config::default();
    for (first, last) in all {
        assert_eq!(first.clone().or(last.clone()), first);
        assert_eq!(Config::default().or(last.clone()), last);
        assert_eq!(last.clone().or(Config::default()), last);
        everything = everything.or(last);
    }
    assert_eq!(given(&everything).len(), CASES.len());
}

fn raw() -> impl Strategy<Value = Raw> {
    let leaf = prop_oneof![
        Just(Raw::Null),
        Just(Raw::List),
        any::<bool>().prop_map(Raw::Bool),
        any::<i128>().prop_map(Raw::Integer),
        any::<i16>().prop_map(|n| Raw::Integer(n.into())),
        proptest::num::f64::ANY.prop_map(Raw::Float),
        any::<String>().prop_map(Raw::Text),
        "[0-9]{0,30} ?(ms|s|years|h|us|ns|)".prop_map(Raw::Text),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![
            Just("events".to_owned()),
            Just("bytes".to_owned()),
            any::<String>()
        ];
        proptest::collection::vec((key, inner), 0..4).prop_map(Raw::Registry)
    })
}

proptest! {
    #[test]
    fn no_value_of_a_file_panics(raw in raw()) {
        for entry in TABLE {
            let mut config = Config::default();
            let is_right = (entry.read_file)(&mut config, &raw);
            prop_assert_eq!(given(&config).len(), usize::from(is_right));
            prop_assert!(Options::fill(&config, ConfigLayer::File).is_ok());
        }
        let _ = raw.to_string();
    }

    #[test]
    fn no_variable_panics(
        suffix in "[A-Z_]{0,20}",
        value in prop_oneof![any::<String>(), "[0-9.,=a-z -]{0,24}", "(events|bytes)=[0-9]{0,30},?"],
    ) {
        for entry in TABLE {
            let read = Variables::read([(entry.variable, &value)]);
            prop_assert!(Options::fill(&read.config, ConfigLayer::Environment).is_ok());
            prop_assert_eq!(given(&read.config).len() + read.config.wrong.len(), 1);
        }
        Variables::read([(format!("EVENTCAST_{suffix}"), value)]);
    }

    #[test]
    fn no_json_panics(text in r#"\{("(port|id|multicastTtl|x)": ?(1|"a"|null|\{\}|\[1\]),? ?){0,4}\}?"#) {
        let _ = from_json(&text);
    }
}
