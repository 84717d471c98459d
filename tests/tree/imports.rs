//! Which file of `src/` imports which others.
//!
//! What counts are the paths in the code, as the compiler would find them: those of `use`, with their braces, globs,
//! `self` and `super`, and those that stand inline in types, expressions and macros. What does not: tests, which may
//! use anything; links in comments; and visibilities, because `pub(in …)` only names who may look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The path of a module in the crate; the root is empty. `main.rs` is a crate of its own, and is called `main` here.
pub(crate) type Module = Vec<String>;

pub(crate) fn name(module: &[String]) -> String {
    module.join("::")
}

/// Files that a test made up, by the names of their modules.
pub(crate) fn made_up<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<Module, String> {
    let file = |(module, text): (&str, &str)| {
        let parts = module.split("::").map(str::to_owned);
        (parts.collect(), text.to_owned())
    };
    files.map(file).into()
}

/// The modules with files of their own, and the text of those.
pub(crate) fn files() -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::from("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let inside = path.strip_prefix("src").unwrap().with_extension("");
                let parts = inside.iter().map(|part| part.to_str().unwrap().to_owned());
                let parts = parts.filter(|part| part != "lib");
                found.insert(parts.collect(), fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// Which other files each file imports.
pub(crate) struct Imports(pub(crate) BTreeMap<Module, BTreeSet<Module>>);

impl Imports {
    pub(crate) fn of(files: &BTreeMap<Module, String>) -> Self {
        let known: BTreeSet<_> = files.keys().cloned().collect();
        let mut arrows = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (module, text) in files {
            let file = syn::parse_file(text);
            let file = file.unwrap_or_else(|error| panic!("{}: {error}", name(module)));
            let mut reader = Reader {
                known: &known,
                scope: Scope {
                    module: module.clone(),
                    tests: BTreeSet::new(),
                },
                found: BTreeSet::new(),
            };
            reader.visit_file(&file);
            reader.found.remove(module);
            arrows.insert(module.clone(), reader.found);
            tests.extend(reader.scope.tests);
        }
        arrows.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Imports(arrows)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&Module, &Module)> {
        self.0
            .iter()
            .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    }

    /// The files that a file imports, and those that these import, and so on. It is one of them itself if it is in a
    /// loop.
    pub(crate) fn reach(&self, from: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<_> = self.0.get(from).into_iter().flatten().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(self.0.get(module).into_iter().flatten());
            }
        }
        reached
    }
}

/// Where a reader of files is.
#[derive(Default)]
pub(crate) struct Scope {
    /// The module that is being read, which may be inside that of the file.
    pub(crate) module: Module,
    /// Modules that are for tests alone.
    pub(crate) tests: BTreeSet<Module>,
}

impl Scope {
    /// Lets a reader whose scope this is read what stands in a module, unless that is for tests.
    pub(crate) fn read<'ast, V: Visit<'ast>>(
        reader: &mut V,
        scope: impl Fn(&mut V) -> &mut Scope,
        item: &'ast syn::ItemMod,
    ) {
        let inside = scope(reader);
        inside.module.push(item.ident.to_string());
        if is_for_tests(&item.attrs) {
            inside.tests.insert(inside.module.clone());
        } else {
            visit::visit_item_mod(reader, item);
        }
        scope(reader).module.pop();
    }
}

/// Collects what one file imports.
struct Reader<'a> {
    known: &'a BTreeSet<Module>,
    scope: Scope,
    found: BTreeSet<Module>,
}

impl Reader<'_> {
    /// Notes the module with a file of its own that a path leads to or into.
    fn note(&mut self, path: &[String]) {
        let mut whole = match path[0].as_str() {
            "crate" | "lazycam" => Vec::new(),
            "self" => self.scope.module.clone(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                self.scope.module[..self.scope.module.len() - ups].to_vec()
            }
            // A child of this module, or another crate.
            first => {
                let child = [&self.scope.module[..], &[first.to_owned()]].concat();
                if !self.known.contains(&child) {
                    return;
                }
                self.scope.module.clone()
            }
        };
        let known_words = ["crate", "lazycam", "self", "super"];
        let named = path
            .iter()
            .filter(|part| !known_words.contains(&part.as_str()));
        whole.extend(named.cloned());
        while !self.known.contains(&whole) {
            whole.pop();
        }
        self.found.insert(whole);
    }

    fn note_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &proc_macro2::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, before);
                }
            }
        }
    }

    /// The paths in the input of a macro, which is not parsed: words with `::` between them.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens.into_iter() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) if colons == 2 && !path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.note_path(&path);
                    (path, colons) = (Vec::new(), 0);
                    match other {
                        TokenTree::Ident(ident) => path.push(ident.to_string()),
                        TokenTree::Group(group) => self.note_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.note_path(&path);
    }

    fn note_path(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.note(path);
        }
    }
}

pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        Scope::read(self, |reader| &mut reader.scope, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&item.tree, &[]);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts = path.segments.iter().map(|part| part.ident.to_string());
        self.note_path(&parts.collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, of: &'ast syn::Macro) {
        self.note_tokens(of.tokens.clone());
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = |of: &str| match of {
        "a" => {
            "mod b; #[cfg(test)] mod tests; \
             use crate::{c::{self, One as Two}, d::*}; \
             pub(in crate::e) fn f(_: b::Thing) { println!(\"{}\", crate::f::X); } \
             #[cfg(test)] mod more { use crate::g; }"
        }
        "a::b" => "use super::super::h::Y; mod inline { use super::super::c; }",
        "a::tests" => "use crate::i;",
        "c" => "fn f() -> crate::a::Z { self::g() } use std::fmt; use elsewhere::d;",
        _ => "",
    };
    let names = [
        "", "a", "a::b", "a::tests", "c", "d", "e", "f", "g", "h", "i",
    ];
    let files = names.map(|name| {
        let parts = name.split("::").filter(|part| !part.is_empty());
        (parts.map(str::to_owned).collect(), text(name).to_owned())
    });
    let imports = Imports::of(&files.into_iter().collect());
    let found = imports.each().map(|(from, to)| (name(from), name(to)));
    let expected = [
        ("a", "a::b"),
        ("a", "c"),
        ("a", "d"),
        ("a", "f"),
        ("a::b", "a"),
        ("a::b", "h"),
        ("c", "a"),
    ];
    assert_eq!(
        found.collect::<Vec<_>>(),
        expected.map(|(from, to)| (from.to_owned(), to.to_owned()))
    );
    assert!(
        imports
            .reach(&vec!["c".into()])
            .contains(&vec!["c".to_owned()]),
        "c, a, c"
    );
}
