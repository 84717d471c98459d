//! What lazycam is made of, held against deny.toml and against the list that is handed out (packaging/sbom): licences,
//! duplicates, where crates come from. No advisories: those are `cargo deny`'s, where their database can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::common::process::has;
use crate::common::skipped;
use serde_json::Value;

const DENY: &str = include_str!("../../deny.toml");
const LOCK: &str = include_str!("../../Cargo.lock");
const REGISTRY: &str = "https://github.com/rust-lang/crates.io-index";

/// The lines of a list in deny.toml.
fn list(key: &str) -> Vec<&'static str> {
    let (_, rest) = DENY.split_once(&format!("\n{key} = [")).unwrap();
    let (list, _) = rest.split_once(']').unwrap();
    let lines = list.lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

/// The first text in quotes of each line of a list.
fn quoted(key: &str) -> BTreeSet<&'static str> {
    let first = |line: &'static str| line.split('"').nth(1).unwrap();
    list(key).into_iter().map(first).collect()
}

/// A crate of Cargo.lock.
#[derive(Debug)]
struct Locked {
    name: &'static str,
    version: &'static str,
    source: Option<&'static str>,
    checksum: Option<&'static str>,
}

fn locked() -> Vec<Locked> {
    let blocks = LOCK.split("[[package]]").skip(1);
    let parse = |block: &'static str| {
        let value = |key: &str| {
            let mut lines = block.lines();
            let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"'))
        };
        Locked {
            name: value("name").unwrap(),
            version: value("version").unwrap(),
            source: value("source"),
            checksum: value("checksum"),
        }
    };
    blocks.map(parse).collect()
}

/// `cargo metadata` with every feature; `None` where crates cannot be fetched, which is said.
fn packages() -> Option<Vec<Value>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version=1"]);
    let output = command.arg("--all-features").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // A lock file that does not fit is a failure; a network that is not there is none.
        let network = ["failed to download", "failed to get", "offline"];
        assert!(network.iter().any(|why| error.contains(why)), "{error}");
        skipped(&format!("crates cannot be fetched: {error}"));
        return None;
    }
    let data: Value = serde_json::from_slice(&output.stdout).unwrap();
    data["packages"].as_array().cloned()
}

/// Whether an SPDX expression can be met with these licences, and with which: the first choice that is among them. A `/`
/// is how crates wrote OR before there were expressions.
fn choose(expression: &str, allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let text = expression.replace('/', " OR ");
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let chosen = either(&mut words, allowed);
    assert!(words.is_empty(), "{expression} is no expression");
    chosen
}

/// Takes the next word if it is this one. Words stand in reverse.
fn next_is(wanted: &str, words: &mut Vec<&str>) -> bool {
    let is = words.last() == Some(&wanted);
    if is {
        words.pop();
    }
    is
}

fn either(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let mut chosen = both(words, allowed);
    while next_is("OR", words) {
        // MIT if it is offered, since nearly all offer that.
        let other = both(words, allowed);
        let better = |set: &BTreeSet<String>| set.contains("MIT");
        if chosen.is_none() || other.as_ref().is_some_and(better) {
            chosen = other.or(chosen);
        }
    }
    chosen
}

fn both(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let mut chosen = one(words, allowed);
    while next_is("AND", words) {
        let other = one(words, allowed);
        chosen = chosen
            .zip(other)
            .map(|(a, b)| a.union(&b).cloned().collect());
    }
    chosen
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> Option<BTreeSet<String>> {
    let word = words.pop().expect("a licence");
    if word == "(" {
        let inner = either(words, allowed);
        assert_eq!(words.pop(), Some(")"));
        return inner;
    }
    let mut name = word.to_owned();
    if next_is("WITH", words) {
        name = format!("{name} WITH {}", words.pop().expect("an exception"));
    }
    allowed.contains(name.as_str()).then(|| [name].into())
}

#[test]
fn an_expression_is_met_by_one_of_its_choices_and_by_all_of_its_parts() {
    let allowed = BTreeSet::from(["MIT", "IJG"]);
    let set = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect());
    for (expression, chosen) in [
        ("MIT", set(&["MIT"])),
        ("Apache-2.0", None),
        ("Apache-2.0/MIT", set(&["MIT"])),
        ("IJG OR MIT", set(&["MIT"])),
        ("(MIT OR Apache-2.0) AND IJG", set(&["IJG", "MIT"])),
        ("MIT AND Apache-2.0", None),
        ("MIT WITH LLVM-exception", None),
        ("Apache-2.0 WITH LLVM-exception OR MIT", set(&["MIT"])),
        ("GPL-3.0-only OR (MIT AND Unicode-3.0)", None),
    ] {
        assert_eq!(choose(expression, &allowed), chosen, "{expression}");
    }
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_each_of_those_is_some_crates() {
    let Some(packages) = packages() else { return };
    let allowed = quoted("allow");
    let mut used = BTreeSet::new();
    for package in &packages {
        let (name, licence) = (&package["name"], package["license"].as_str());
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        let chosen = choose(licence, &allowed);
        used.extend(chosen.unwrap_or_else(|| panic!("{name}: {licence} is not in deny.toml")));
    }
    let allowed: BTreeSet<String> = allowed.into_iter().map(str::to_owned).collect();
    assert_eq!(used, allowed, "deny.toml allows what nobody needs");
}

#[test]
fn a_crate_is_there_in_one_version_unless_deny_toml_has_the_reason() {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in locked() {
        versions
            .entry(package.name)
            .or_default()
            .push(package.version);
    }
    let mut excused = BTreeSet::new();
    for skip in list("skip") {
        let (name, major) = skip.split('"').nth(1).unwrap().split_once('@').unwrap();
        let reason = skip
            .split_once("reason = \"")
            .map(|(_, reason)| reason.len());
        assert!(reason > Some(10), "{skip} has no reason");
        let of = versions
            .get_mut(name)
            .unwrap_or_else(|| panic!("there is no {name}"));
        let before = of.len();
        of.retain(|version| version.split('.').next() != Some(major));
        assert_eq!((before, of.len()), (2, 1), "{skip} excuses nothing");
        assert!(excused.insert((name, major)));
    }
    let twice: Vec<_> = versions.iter().filter(|(_, of)| of.len() > 1).collect();
    assert!(twice.is_empty(), "in several versions: {twice:?}");
}

#[test]
fn all_crates_come_from_crates_io_with_a_checksum() {
    assert_eq!(quoted("allow-registry"), [REGISTRY].into());
    assert!(DENY.contains("\nallow-git = []\n"));
    let registry = format!("registry+{REGISTRY}");
    let (ours, others): (Vec<_>, Vec<_>) = locked().into_iter().partition(|p| p.name == "lazycam");
    assert_eq!(ours.len(), 1);
    assert!(others.len() > 40, "{}", others.len());
    for package in others {
        assert_eq!(package.source, Some(registry.as_str()), "{package:?}");
        assert_eq!(package.checksum.map(str::len), Some(64), "{package:?}");
    }
}

/// What packaging/sbom writes with these arguments; `None`, which is said, without Python or the network.
fn sbom(arguments: &[&str]) -> Option<Value> {
    if !has("python3") {
        return None;
    }
    packages()?;
    let mut command = Command::new("packaging/sbom");
    // As of a commit, which a tree without .git does not know.
    let command = command
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", "1000000000");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value[key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// What CycloneDX 1.5 requires, and what this project does beyond that: purl, licence and checksum.
fn check(bom: &Value) {
    assert_eq!(text(bom, "bomFormat"), "CycloneDX");
    assert_eq!(text(bom, "specVersion"), "1.5");
    assert_eq!(bom["version"], 1);
    assert!(text(bom, "serialNumber").starts_with("urn:uuid:"));
    let top = &bom["metadata"]["component"];
    assert_eq!(
        (text(top, "type"), text(top, "name")),
        ("application", "lazycam")
    );
    assert_eq!(text(top, "version"), env!("CARGO_PKG_VERSION"));
    let checksums: BTreeMap<_, _> = locked()
        .into_iter()
        .map(|p| (format!("pkg:cargo/{}@{}", p.name, p.version), p.checksum))
        .collect();
    let mut refs = BTreeSet::from([text(top, "bom-ref")]);
    for component in bom["components"].as_array().unwrap() {
        let (purl, kind) = (text(component, "purl"), text(component, "type"));
        assert_eq!(kind, "library");
        assert!(refs.insert(text(component, "bom-ref")), "twice: {purl}");
        assert!(purl.ends_with(&format!(
            "/{}@{}",
            text(component, "name"),
            text(component, "version")
        )));
        assert!(matches!(text(component, "scope"), "required" | "excluded"));
        assert!(!text(&component["licenses"][0], "expression").contains('/'));
        let sum = component["hashes"][0]["content"].as_str();
        match checksums.get(purl) {
            Some(locked) => assert_eq!(sum, *locked, "{purl}"),
            None => assert!(purl.starts_with("pkg:generic/libjpeg-turbo@"), "{purl}"),
        }
    }
    let nodes = bom["dependencies"].as_array().unwrap();
    let from: BTreeSet<_> = nodes.iter().map(|node| text(node, "ref")).collect();
    assert_eq!(
        from, refs,
        "each component stands in the graph, and nothing else"
    );
    assert_eq!(from.len(), nodes.len());
    let to = nodes
        .iter()
        .flat_map(|node| node["dependsOn"].as_array().unwrap());
    let to: BTreeSet<_> = to.map(|other| other.as_str().unwrap()).collect();
    let missing: Vec<_> = refs.symmetric_difference(&to).collect();
    assert_eq!(
        missing,
        [&text(top, "bom-ref")],
        "each is somebody's, but lazycam"
    );
}

fn scope<'a>(bom: &'a Value, name: &str) -> Option<&'a str> {
    let mut components = bom["components"].as_array().unwrap().iter();
    let found = components.find(|component| component["name"] == name);
    found.map(|component| text(component, "scope"))
}

#[test]
fn the_list_that_is_handed_out_has_what_is_linked_and_nothing_of_the_tests() {
    let Some(bom) = sbom(&["--target", "aarch64-unknown-linux-musl"]) else {
        return;
    };
    check(&bom);
    assert_eq!(scope(&bom, "rustix"), Some("required"));
    assert_eq!(
        scope(&bom, "clap_derive"),
        Some("excluded"),
        "a macro is not linked"
    );
    for absent in [
        "jpeg-decoder",
        "serde_json",
        "windows-sys",
        "libjpeg-turbo",
        "libcamera",
    ] {
        assert_eq!(scope(&bom, absent), None, "{absent}");
    }
    let again = sbom(&["--target", "aarch64-unknown-linux-musl"]);
    assert_eq!(again, Some(bom), "the same commit, the same list");
}

#[test]
fn a_feature_brings_its_crates_and_its_c_library() {
    let Some(bom) = sbom(&["--features", "turbojpeg"]) else {
        return;
    };
    check(&bom);
    assert_eq!(scope(&bom, "libjpeg-turbo"), Some("required"));
    assert_eq!(
        scope(&bom, "cmake"),
        Some("excluded"),
        "needed to build it alone"
    );
    let Some(system) = sbom(&["--features", "turbojpeg-system"]) else {
        return;
    };
    check(&system);
    assert_eq!(scope(&system, "turbojpeg-sys"), Some("required"));
    assert_eq!(scope(&system, "libjpeg-turbo"), None, "the image's own");
    assert_eq!(scope(&system, "cmake"), None, "nothing is built");
}
