//! When there is a console, who can reach it, and what it shows.

use super::*;

#[cfg(not(feature = "repl"))]
#[test]
fn a_console_is_a_feature() {
    for (builder, variables, start) in [
        (
            Builder::new().repl(true),
            &[][..],
            "option `repl` (set on the builder) is true, but must be false: this program is built without",
        ),
        (
            Builder::new(),
            &[("EVENTCAST_REPL_PORT", "4000")],
            "option `repl_port` (from the variable EVENTCAST_REPL_PORT) is 4000, but must be left out: this program",
        ),
    ] {
        let error = with_variables(builder, variables).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    }
}

#[cfg(feature = "repl")]
#[test]
fn a_console_exists_if_it_is_requested() {
    let file = |text| Builder::new().config(serde_json::from_str(text).unwrap());
    for (builder, variables, is_there) in [
        (Builder::new(), &[][..], false),
        (
            Builder::new().repl_token("alpha").repl_host("0.0.0.0"),
            &[],
            false,
        ),
        (Builder::new().repl(true), &[], true),
        (Builder::new().repl_port(0), &[], true),
        (Builder::new().repl(false).repl_port(4000), &[], false),
        // The higher layer takes effect.
        (
            Builder::new().repl(false),
            &[("EVENTCAST_REPL_PORT", "4000")],
            false,
        ),
        (
            Builder::new().repl_port(0),
            &[("EVENTCAST_REPL", "false")],
            true,
        ),
        (
            file(r#"{"repl": false}"#),
            &[("EVENTCAST_REPL_PORT", "4000")],
            true,
        ),
        (
            file(r#"{"replPort": 4000}"#),
            &[("EVENTCAST_REPL", "false")],
            false,
        ),
        (
            file(r#"{"replPort": 4000}"#),
            &[("EVENTCAST_REPL", "true")],
            true,
        ),
    ] {
        let said = format!("{builder:?} {variables:?}");
        assert_eq!(
            with_variables(builder, variables).unwrap().repl,
            is_there,
            "{said}"
        );
    }
}

#[cfg(feature = "repl")]
#[test]
fn a_wrong_repl_has_no_effect_if_a_higher_layer_sets_its_port() {
    let variables = [("EVENTCAST_REPL", "maybe")];
    let (options, warnings) = with_warnings(Builder::new().repl_port(4000), &variables).unwrap();
    assert_eq!((options.repl, options.repl_port), (true, 4000));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].ends_with("because the builder gives `repl_port`"),
        "{warnings:?}"
    );
    // Within one layer `repl` takes effect.
    let both = [("EVENTCAST_REPL", "maybe"), ("EVENTCAST_REPL_PORT", "4000")];
    with_warnings(Builder::new(), &both).unwrap_err();
}

#[cfg(feature = "repl")]
#[test]
fn a_console_on_the_network_needs_a_token() {
    let open = || Builder::new().repl(true).repl_host("0.0.0.0");
    assert_eq!(
        options(open()),
        Err("option `repl_token` is not given, but must be given where `repl_host` (set on the builder) is 0.0.0.0: \
             others can reach a console there, and could use it"
            .to_owned())
    );
    // The error names no variable, since none was set.
    let from_variable = with_variables(
        Builder::new().repl(true),
        &[("EVENTCAST_REPL_HOST", "0.0.0.0")],
    );
    assert_eq!(
        from_variable.map(drop),
        Err("option `repl_token` is not given, but must be given where `repl_host` (from the variable \
             EVENTCAST_REPL_HOST) is 0.0.0.0: others can reach a console there, and could use it"
            .to_owned())
    );
    let config = serde_json::from_str(r#"{"repl": true, "replHost": "0.0.0.0"}"#).unwrap();
    let error = options(Builder::new().config(config)).map(drop);
    assert!(error.is_err_and(|text| text.contains("(from the configuration) is 0.0.0.0")));
    assert!(options(open().repl_token("alpha")).is_ok());
    for host in ["localhost", "127.0.0.2", "::1"] {
        assert!(options(open().repl_host(host)).is_ok(), "{host}");
    }
    for host in ["192.0.2.1", "::", "fe80::1"] {
        assert!(options(open().repl_host(host)).is_err(), "{host}");
    }
}

#[cfg(feature = "repl")]
#[test]
fn the_console_shows_every_option_and_no_secret() {
    let builder = Builder::new()
        .passphrase("alpha bravo")
        .repl_token("alpha charlie")
        .port(9000)
        .config(serde_json::from_str(r#"{"multicastTtl": 2}"#).unwrap());
    let layers = builder.layers([("EVENTCAST_ID", "me")]);
    let settings = layers.settings(&builder.options(&layers, || 0).unwrap().0);
    let of = |name| {
        let setting = settings
            .iter()
            .find(|setting| setting.name == name)
            .unwrap();
        (setting.value.as_str(), setting.given)
    };
    assert_eq!(of("port"), ("9000", Some("builder")));
    assert_eq!(of("id"), ("\"me\"", Some("EVENTCAST_ID")));
    assert_eq!(of("multicast_ttl"), ("2", Some("configuration")));
    assert_eq!(of("message_ttl"), ("3s", None));
    assert_eq!(of("receive_buffer"), ("none", None));
    assert_eq!(
        of("passphrase"),
        ("a value that is not shown", Some("builder"))
    );
    assert_eq!(
        of("repl_token"),
        ("a value that is not shown", Some("builder"))
    );
    assert!(!format!("{settings:?}").contains("alpha"));
}
