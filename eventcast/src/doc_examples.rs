//! A test that every public method of the types that users hold has an example, and a first
//! sentence of its own.

use std::{fs, path::Path};

/// The types whose methods are looked at, and the fewest public methods that the source must be
/// found to have.
const TYPES: [(&str, usize); 13] = [
    ("Bus", 70),
    ("WeakBus", 1),
    ("Builder", 7),
    ("Listen", 9),
    ("ListenerGuard", 2),
    ("Received", 7),
    ("Subscription", 5),
    ("SubscribeOptions", 3),
    ("NoticeStream", 4),
    ("WaitFor", 2),
    ("Pattern", 3),
    ("Keys", 2),
    ("Secret", 2),
];

/// A public method, and the lines above it: its documentation and attributes.
struct Method {
    type_name: String,
    name: String,
    docs: Vec<String>,
}

impl Method {
    /// What is wrong with its documentation.
    fn fault(&self) -> Option<&'static str> {
        let first = self.docs.iter().find(|line| line.starts_with("///"));
        if first.is_some_and(|line| line.starts_with("/// As ")) {
            return Some("its first sentence sends the reader on");
        }
        let has_example = self.docs.iter().any(|line| line.contains("```"));
        (!has_example).then_some("it has no example")
    }
}

#[test]
fn every_public_method_has_an_example() {
    let mut methods = Vec::new();
    read_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut methods,
    );
    let mut faults = Vec::new();
    for (type_name, fewest) in TYPES {
        let of_type = methods.iter().filter(|one| one.type_name == type_name);
        let count = of_type.clone().count();
        assert!(count >= fewest, "only {count} methods found of {type_name}");
        faults.extend(of_type.filter_map(|method| {
            let fault = method.fault()?;
            Some(format!("{type_name}::{}: {fault}", method.name))
        }));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_method_without_an_example_is_found() {
    let source = "\
impl Sample {
    /// Does this.
    ///
    /// ```
    /// bus.this();
    /// ```
    #[must_use]
    pub fn this(&self) {}

    /// Does that.
    pub async fn that(&self) {}

    /// As `this`.
    ///
    /// ```
    /// bus.other();
    /// ```
    pub fn other(&self) {}

    fn private(&self) {}
}

impl Clone for Sample {
    pub fn of_a_trait() {}
}

pub fn of_no_type() {}
";
    let mut methods = Vec::new();
    read_source(source, &mut methods);
    let found = methods
        .iter()
        .map(|method| (&*method.name, method.fault()))
        .collect::<Vec<_>>();
    let expected = [
        ("this", None),
        ("that", Some("it has no example")),
        ("other", Some("its first sentence sends the reader on")),
    ];
    assert_eq!(found, expected);
}

fn read_folder(folder: &Path, methods: &mut Vec<Method>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, methods);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read_source(&fs::read_to_string(&path).unwrap(), methods);
        }
    }
}

/// Finds the public methods in blocks such as `impl<E> Received<E> {`. A block ends with the brace
/// that stands as far to the right as its `impl`.
fn read_source(source: &str, methods: &mut Vec<Method>) {
    let mut block: Option<(String, usize)> = None;
    let mut docs = Vec::new();
    for line in source.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        if let Some(type_name) = type_of_block(text) {
            block = Some((type_name, depth));
        }
        if text == "}" && block.as_ref().is_some_and(|(_, outer)| *outer == depth) {
            block = None;
        }
        match (&block, method_name(text)) {
            (Some((type_name, outer)), Some(name)) if depth == outer + 4 || depth == outer + 8 => {
                methods.push(Method {
                    type_name: type_name.clone(),
                    name: name.to_owned(),
                    docs: std::mem::take(&mut docs),
                });
            }
            _ => {}
        }
        let ends_item = text.is_empty() || text.ends_with('}') || text.ends_with('{');
        if ends_item && !text.starts_with("///") {
            docs.clear();
        } else {
            docs.push(text.to_owned());
        }
    }
}

/// The type of an `impl` block that is not of a trait.
fn type_of_block(text: &str) -> Option<String> {
    let rest = text.strip_prefix("impl")?;
    if rest.contains(" for ") || !rest.ends_with('{') {
        return None;
    }
    let rest = match rest.strip_prefix('<') {
        Some(generics) => generics.split_once("> ")?.1,
        None => rest.strip_prefix(' ')?,
    };
    let end = rest.find(|letter: char| !letter.is_alphanumeric())?;
    Some(rest[..end].to_owned())
}

/// The name of a public method that is declared on this line.
fn method_name(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}
