//! Who imports whom in `src/` (`imports.rs`), held against the tables in CONTRIBUTING.md.

use std::collections::BTreeSet;

use crate::imports::{Imports, Module, files, name};

const TABLES: &str = include_str!("../../CONTRIBUTING.md");

/// One table: its rooms from top to bottom, each with those that it may import.
#[derive(Default)]
struct Table(Vec<(Vec<String>, Vec<String>)>);

impl Table {
    /// The table in which the modules of a parent are rooms; those of the crate itself if it is empty.
    fn of(parent: &str) -> Option<Self> {
        let head = match parent {
            "" => "| module | may import |\n".to_owned(),
            _ => format!("| in `{parent}` | may import |\n"),
        };
        let (_, rest) = TABLES.split_once(&head)?;
        let rows = rest
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        let names = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        Some(Table(
            rows.map(|row| {
                let mut cells = row.trim_matches('|').split('|').map(names);
                (cells.next().unwrap(), cells.next().unwrap())
            })
            .collect(),
        ))
    }

    fn rooms(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|(rooms, _)| rooms)
    }

    /// The room of a module, whose path begins in the parent. The parent's own file is a room, too.
    fn room(&self, parent: &str, path: &[String]) -> String {
        if path.is_empty() {
            return format!("{parent}.rs");
        }
        let lengths = (1..=path.len()).rev().map(|len| name(&path[..len]));
        let mut rooms = lengths.filter(|name| self.rooms().any(|room| room == name));
        rooms.next().unwrap_or_else(|| path[0].clone())
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        let row = self
            .0
            .iter()
            .find(|(rooms, _)| rooms.iter().any(|room| room == from));
        from == to || row.is_some_and(|(_, allowed)| allowed.iter().any(|room| room == to))
    }
}

/// The rooms at both ends of an arrow, and the parent in whose table they are. `None` for the root, which only
/// declares the modules, and for what is inside a module that has no table.
fn rooms(from: &Module, to: &Module) -> Option<(String, String, String)> {
    let (first, other) = (from.first()?, to.first().cloned().unwrap_or_default());
    let (parent, skipped) = match *first == other {
        true => (first.as_str(), 1),
        false => ("", 0),
    };
    let table = Table::of(parent)?;
    let to = if to.is_empty() {
        "lib.rs".into()
    } else {
        table.room(parent, &to[skipped..])
    };
    Some((parent.to_owned(), table.room(parent, &from[skipped..]), to))
}

#[test]
fn nobody_imports_what_the_tables_do_not_allow() {
    let (files, mut faults) = (files(), Vec::new());
    for (from, to) in Imports::of(&files).each() {
        let Some((parent, one, other)) = rooms(from, to) else {
            continue;
        };
        if !Table::of(&parent).unwrap().allows(&one, &other) {
            faults.push(format!("{} imports {}", name(from), name(to)));
        }
    }
    assert!(
        faults.is_empty(),
        "CONTRIBUTING.md says otherwise:\n{}",
        faults.join("\n")
    );
}

#[test]
fn what_the_tables_allow_is_there_and_below() {
    let files = files();
    let imports = Imports::of(&files);
    let there: BTreeSet<_> = imports
        .each()
        .filter_map(|(from, to)| rooms(from, to))
        .collect();
    for parent in ["", "server", "capture"] {
        let rows = Table::of(parent).expect(parent).0;
        for (row, (ones, others)) in rows.iter().enumerate() {
            for other in others {
                let below = rows[row + 1..]
                    .iter()
                    .any(|(rooms, _)| rooms.contains(other));
                assert!(
                    below,
                    "{ones:?} in '{parent}' may import {other}, which is not below"
                );
                let used = ones
                    .iter()
                    .any(|one| there.contains(&(parent.to_owned(), one.clone(), other.clone())));
                assert!(
                    used,
                    "{ones:?} in '{parent}' may import {other}, but do not"
                );
            }
        }
    }
}

#[test]
fn every_module_has_its_place_in_the_tables_and_no_place_is_empty() {
    let imports = Imports::of(&files());
    for parent in ["", "server", "capture"] {
        let table = Table::of(parent).expect(parent);
        let inside = imports.0.keys().filter_map(|module| match parent {
            "" => Some(&module[..]),
            _ => (module.first()? == parent).then(|| &module[1..]),
        });
        let is_root = |path: &&[String]| parent.is_empty() && path.is_empty();
        let there: BTreeSet<_> = inside
            .filter(|path| !is_root(path))
            .map(|path| table.room(parent, path))
            .collect();
        let named: BTreeSet<_> = table.rooms().cloned().collect();
        assert_eq!(named, there, "in '{parent}'");
    }
}

#[test]
fn no_two_files_import_each_other_in_a_loop() {
    let files = files();
    let imports = Imports::of(&files);
    let in_loops: Vec<_> = imports
        .each()
        .filter(|(from, to)| imports.reach(to).contains(from))
        .map(|(from, to)| format!("{} imports {}", name(from), name(to)))
        .collect();
    assert!(in_loops.is_empty(), "loops:\n{}", in_loops.join("\n"));
}
