//! Tests that dependencies run one way: no folder or file of a module needs one that needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Modules of which it holds, as paths below `src`.
const ONE_WAY: [&str; 11] = [
    "bus",
    "bus/config",
    "bus/driver",
    "bus/lifecycle",
    "bus/listeners",
    "bus/on",
    "bus/process",
    "bus/queue",
    "bus/telemetry",
    "net",
    "proto",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// A file's module, and the modules and items that it names, as paths from the root of the crate.
struct Source {
    module: Vec<String>,
    used: Vec<Vec<String>>,
}

#[test]
fn dependencies_run_one_way() {
    let sources = sources();
    for module in ONE_WAY {
        let graph = graph_of(&sources, module);
        assert!(graph.len() >= 2, "{module}: {graph:?}");
        for part in graph.keys() {
            let path = way_back(&graph, part);
            assert_eq!(path, None, "a circle in {module}");
        }
    }
}

/// The console is a client of the public API: the bus knows an extension, which its builder puts
/// in.
#[test]
fn the_builder_alone_names_the_console() {
    let is_of_bus = |source: &&Source| source.module.first().is_some_and(|first| first == "bus");
    let naming: Vec<_> = sources()
        .iter()
        .filter(is_of_bus)
        .filter(|source| source.used.iter().any(|path| path[0] == "repl"))
        .map(|source| source.module.join("::"))
        .collect();
    assert_eq!(naming, ["bus::build"]);
}

#[test]
fn paths_outside_of_use_count() {
    let place = ["bus", "driver", "session"].map(str::to_owned);
    let code = "fn f() { super::send_loop::run(crate::net::open()) }";
    let found = paths(code, &place);
    assert_eq!(
        found,
        [
            vec!["net", "open"],
            vec!["bus", "driver", "send_loop", "run"]
        ]
    );
}

#[test]
fn a_circle_is_found() {
    let graph = Graph::from([
        ("a".into(), ["b".into()].into()),
        ("b".into(), ["c".into()].into()),
        ("c".into(), ["b".into()].into()),
    ]);
    assert_eq!(way_back(&graph, "a"), None);
    assert_eq!(way_back(&graph, "b"), Some(vec!["b".into(), "c".into()]));
}

#[test]
fn use_trees_are_taken_apart() {
    let paths = leaves("super::{a::{B, c::*}, d, self}");
    assert_eq!(
        paths,
        ["super::a::B", "super::a::c::*", "super::d", "super::self"]
    );
}

/// All files of the crate but tests.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    read_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &[],
        &mut sources,
    );
    sources
}

/// `place` is the module of the folder.
fn read_folder(folder: &Path, place: &[String], sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "tests" {
            continue;
        }
        let mut module = place.to_vec();
        if path.is_dir() {
            module.push(name);
            read_folder(&path, &module, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if name != "mod" {
                module.push(name);
            }
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
            let used = paths(source, &module);
            sources.push(Source { module, used });
        }
    }
}

/// What the parts of a module use of each other. Its own file names its parts, and is none of them.
fn graph_of(sources: &[Source], module: &str) -> Graph {
    let module: Vec<String> = module.split('/').map(str::to_owned).collect();
    let part = |path: &[String]| {
        let rest = path.strip_prefix(module.as_slice())?;
        rest.first().cloned()
    };
    let parts: BTreeSet<String> = sources.iter().filter_map(|one| part(&one.module)).collect();
    let mut graph = Graph::new();
    for source in sources {
        let Some(own) = part(&source.module) else {
            continue;
        };
        let used = source.used.iter().filter_map(|path| part(path));
        let others = used.filter(|other| *other != own && parts.contains(other));
        graph.entry(own.clone()).or_default().extend(others);
    }
    graph
}

/// The paths of this crate in a piece of code, of `use` and of any other kind, as seen from the
/// module `place`.
fn paths(code: &str, place: &[String]) -> Vec<Vec<String>> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = code.lines().filter(is_code).collect();
    let code = code.join("\n");
    let of_use = code
        .split(';')
        .filter_map(|statement| statement.rsplit_once("use "))
        .flat_map(|(_, tree)| leaves(tree));
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let others = ["crate::", "super::"].into_iter().flat_map(|root| {
        let begins = |at: &usize| !code[..*at].ends_with(is_of_path);
        let starts = code.match_indices(root).map(|(at, _)| at).filter(begins);
        starts.map(|at| {
            let path = &code[at..];
            let end = path.find(|letter| !is_of_path(letter));
            path[..end.unwrap_or(path.len())].to_owned()
        })
    });
    let found = of_use.chain(others);
    found.filter_map(|path| absolute(&path, place)).collect()
}

/// A path from the root of the crate. `None`: it leads to another crate, or is relative to the
/// module itself.
fn absolute(path: &str, place: &[String]) -> Option<Vec<String>> {
    let segments: Vec<&str> = path.split("::").filter(|one| !one.is_empty()).collect();
    if let ["crate", rest @ ..] = &segments[..] {
        return (!rest.is_empty()).then(|| rest.iter().map(|one| (*one).to_owned()).collect());
    }
    let up = segments.iter().take_while(|one| **one == "super").count();
    if up == 0 {
        return None;
    }
    let kept = place.get(..place.len().checked_sub(up)?)?;
    let rest = segments[up..].iter().map(|one| (*one).to_owned());
    let path: Vec<String> = kept.iter().cloned().chain(rest).collect();
    (!path.is_empty()).then_some(path)
}

/// The paths in a tree of a `use`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let leaf = inner[start..at].trim();
                if !leaf.is_empty() {
                    let paths = leaves(leaf).into_iter();
                    found.extend(paths.map(|path| format!("{}{path}", prefix.trim())));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// How a part is reached from itself, if it is.
fn way_back(graph: &Graph, part: &str) -> Option<Vec<String>> {
    fn search<'a>(
        graph: &'a Graph,
        (from, to): (&'a str, &str),
        seen: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        for next in graph.get(from)? {
            let rest = match next == to {
                true => Some(Vec::new()),
                false => seen
                    .insert(next)
                    .then(|| search(graph, (next, to), seen))
                    .flatten(),
            };
            if let Some(rest) = rest {
                return Some([vec![from.to_owned()], rest].concat());
            }
        }
        None
    }
    search(graph, (part, part), &mut BTreeSet::new())
}
