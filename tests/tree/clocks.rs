//! Where `src/server/` reads a clock. A turn of its loop has one time (`server/turn.rs`); whoever reads another in its
//! middle says why, at that line and here.
//!
//! What counts is every path to a function of the standard library or of `time/clock.rs` that reads a clock, each time
//! that it stands there, and the import of one, but not in tests.

use syn::visit::{self, Visit};

use crate::imports::{Module, Scope, files, is_for_tests, made_up, name};

/// What is read, where, and why there.
const READS: &[(&str, &str, &str)] = &[
    ("Clocks::read", "server::turn", "the first turn begins"),
    ("Clocks::read", "server::turn", "the next turn begins"),
    ("monotonic", "server::turn", "the server begins, once"),
    (
        "Instant::now",
        "server::cameras::notice",
        "how long a drawing takes, to rest for a multiple of it",
    ),
    ("elapsed", "server::cameras::notice", "the same"),
    (
        "spent",
        "server::client::wire",
        "what sending costs on a processor, to choose between two ways",
    ),
    (
        "Instant::now",
        "server::door::listen",
        "before there is a loop: waits for whoever may own a socket's file",
    ),
    ("elapsed", "server::door::listen", "the same"),
    ("SystemTime::now", "server::door::listen", "the same"),
];

/// Functions that read a clock: those of types, and those of `time/clock.rs`, which are imported or named with it.
const OF_TYPES: [&str; 3] = ["Instant::now", "SystemTime::now", "Clocks::read"];
const FREE: [&str; 5] = ["monotonic", "realtime", "boottime", "spent", "ago"];

#[derive(Default)]
struct Reader {
    scope: Scope,
    found: Vec<(String, Module)>,
}

impl Reader {
    fn note(&mut self, what: &str) {
        self.found
            .push((what.to_owned(), self.scope.module.clone()));
    }

    /// What the end of a path names.
    fn note_path(&mut self, of: &str, function: &str) {
        let both = format!("{of}::{function}");
        if OF_TYPES.contains(&both.as_str()) {
            self.note(&both);
        }
        if of == "clock" && FREE.contains(&function) {
            self.note(function);
        }
    }

    fn note_tree(&mut self, tree: &syn::UseTree, of: &str) {
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&path.tree, &path.ident.to_string()),
            syn::UseTree::Name(name) => self.note_path(of, &name.ident.to_string()),
            syn::UseTree::Rename(rename) => self.note_path(of, &rename.ident.to_string()),
            syn::UseTree::Glob(_) => assert_ne!(of, "clock", "say what is imported"),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, of);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        Scope::read(self, |reader| &mut reader.scope, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let parts = path.path.segments.iter();
        let parts: Vec<_> = parts.map(|part| part.ident.to_string()).collect();
        if let [.., of, function] = &parts[..] {
            self.note_path(of, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&item.tree, "");
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "elapsed" {
            self.note("elapsed");
        }
        visit::visit_expr_method_call(self, call);
    }

    /// What stands in a macro is not parsed.
    fn visit_macro(&mut self, of: &'ast syn::Macro) {
        let text = of.tokens.to_string().replace(' ', "");
        for what in OF_TYPES.into_iter().chain(["elapsed"]) {
            if text.contains(&format!("{what}(")) {
                self.note(what);
            }
        }
        for what in FREE {
            if text.contains(&format!("clock::{what}(")) {
                self.note(what);
            }
        }
    }
}

/// What these files read, and in which module.
fn reads<'a>(files: impl IntoIterator<Item = (&'a Module, &'a String)>) -> Vec<(String, String)> {
    let mut reader = Reader::default();
    for (module, text) in files {
        let file = syn::parse_file(text);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", name(module)));
        reader.scope.module.clone_from(module);
        reader.visit_file(&file);
    }
    let tests = &reader.scope.tests;
    let is_test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
    let found = reader.found.iter().filter(|(_, module)| !is_test(module));
    let found = found.map(|(what, module)| (what.clone(), name(module)));
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

#[test]
fn the_server_reads_a_clock_only_where_its_reason_is_told() {
    let files = files();
    let server = files
        .iter()
        .filter(|(module, _)| module.first().is_some_and(|first| first == "server"));
    let expected = READS.iter();
    let expected = expected.map(|(what, module, _)| ((*what).to_owned(), (*module).to_owned()));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(reads(server), expected);
}

#[test]
fn a_clock_is_found_however_it_is_read() {
    let files = [
        (
            "a",
            "fn f() { let at = Instant::now(); at.elapsed(); Instant::now(); }",
        ),
        (
            "b",
            "fn f() { x.unwrap_or_else(std::time::SystemTime::now); } #[cfg(test)] mod tests;",
        ),
        (
            "c",
            "use x::spent; fn f(spent: u8) { println!(\"{:?}\", (clock::ago(x), Instant::now(), spent)); wire.spent(); }",
        ),
        (
            "d",
            "use crate::{a, time::clock::{Moment, spent as s}}; mod tests { fn g() { f(clock::boottime) } }",
        ),
        (
            "e",
            "#[cfg(test)] fn f() { Clocks::read() } fn now() { self::now(); Clocks::other() }",
        ),
        ("b::tests", "fn f() { Clocks::read(); }"),
    ];
    let files = made_up(files);
    let expected = [
        ("Instant::now", "a"),
        ("Instant::now", "a"),
        ("Instant::now", "c"),
        ("SystemTime::now", "b"),
        ("ago", "c"),
        ("boottime", "d::tests"),
        ("elapsed", "a"),
        ("spent", "d"),
    ];
    let expected = expected.map(|(what, module)| (what.to_owned(), module.to_owned()));
    assert_eq!(reads(&files), expected);
}
