//! A test that dependencies run one way: no folder or file of a module needs one that needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The modules of which it holds. The others are still to be parted.
const ONE_WAY: [&str; 1] = ["proto"];

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn dependencies_run_one_way() {
    for module in ONE_WAY {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(module);
        let mut graph = Graph::new();
        read_folder(&folder, &[], module, &mut graph);
        assert!(graph.len() > 5, "{module}: {graph:?}");
        for part in graph.keys() {
            let path = way_back(&graph, part);
            assert_eq!(path, None, "a circle in {module}");
        }
    }
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

/// Notes for each part what it uses of the others. `place` is where `folder` stands in the module.
fn read_folder(folder: &Path, place: &[String], module: &str, graph: &mut Graph) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "tests" {
            continue;
        }
        let mut place = place.to_vec();
        if path.is_dir() {
            place.push(name);
            read_folder(&path, &place, module, graph);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        if name != "mod" {
            place.push(name);
        }
        // The module's own file names its parts, and belongs to none of them.
        let Some(part) = place.first() else { continue };
        let used = graph.entry(part.clone()).or_default();
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        for statement in source.split(';') {
            let Some((_, tree)) = statement.rsplit_once("use ") else {
                continue;
            };
            for leaf in leaves(tree) {
                used.extend(part_of(&leaf, &place, module).filter(|other| other != part));
            }
        }
    }
}

/// The part of the module that a path of a `use` leads to.
fn part_of(leaf: &str, place: &[String], module: &str) -> Option<String> {
    let segments: Vec<&str> = leaf.split("::").collect();
    if let ["crate", first, part, ..] = segments[..] {
        return (first == module).then(|| part.to_owned());
    }
    let up = segments.iter().take_while(|one| **one == "super").count();
    let (kept, rest) = (place.len().checked_sub(up)?, &segments[up..]);
    let first = place[..kept].first().map(String::as_str);
    (up > 0)
        .then(|| first.or(rest.first().copied()))?
        .map(str::to_owned)
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
