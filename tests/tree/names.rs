//! Two types of `src/` never share a name, wherever they are and whoever may see them: whoever reads a name knows what it
//! is without looking at the imports.
//!
//! What counts is what stands in modules. What does not: tests, which may name their scene as they like, and the types
//! that traits ask for.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;

use crate::imports::{Module, Scope, files, is_for_tests, made_up, name};

/// Names that stand twice, and why.
const TWICE: &[(&str, &str)] = &[(
    "Coder",
    "the JPEG encoder behind a feature or the one without it; never both",
)];

/// Collects the types of one file.
#[derive(Default)]
struct Types {
    scope: Scope,
    found: BTreeSet<(String, Module)>,
}

impl Types {
    fn note(&mut self, ident: &proc_macro2::Ident, attributes: &[syn::Attribute]) {
        if !is_for_tests(attributes) {
            self.found
                .insert((ident.to_string(), self.scope.module.clone()));
        }
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        Scope::read(self, |types| &mut types.scope, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.ident, &item.attrs);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.ident, &item.attrs);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.note(&item.ident, &item.attrs);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.note(&item.ident, &item.attrs);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.note(&item.ident, &item.attrs);
    }

    fn visit_item_fn(&mut self, _: &'ast syn::ItemFn) {}

    fn visit_impl_item_fn(&mut self, _: &'ast syn::ImplItemFn) {}
}

/// The names that stand more than once, and in which modules.
fn doubled(files: &BTreeMap<Module, String>) -> BTreeMap<String, Vec<String>> {
    let mut types = Types::default();
    for (module, text) in files {
        let file = syn::parse_file(text);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", name(module)));
        types.scope.module.clone_from(module);
        types.visit_file(&file);
    }
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (ident, module) in types.found {
        if !types
            .scope
            .tests
            .iter()
            .any(|test| module.starts_with(test))
        {
            places.entry(ident).or_default().push(name(&module));
        }
    }
    places.retain(|_, places| places.len() > 1);
    places
}

#[test]
fn two_types_share_a_name_only_for_a_reason() {
    let mut doubled = doubled(&files());
    for (ident, why) in TWICE {
        assert!(
            doubled.remove(*ident).is_some(),
            "{ident} is no longer doubled ({why})"
        );
    }
    assert!(doubled.is_empty(), "these names stand twice: {doubled:#?}");
}

#[test]
fn a_doubled_name_is_found_however_it_is_declared() {
    let files = [
        (
            "a",
            "struct One; pub enum Two { One } mod inside { type Three = u8; } #[cfg(test)] mod tests;",
        ),
        (
            "b",
            "pub(crate) trait One { type Five; } union Three { a: u8 } #[cfg(test)] struct Two;",
        ),
        (
            "c",
            "#[cfg(test)] mod tests { struct Two; } fn f() { struct Two; } impl One for X { type Five = u8; }",
        ),
        ("a::tests", "struct One; struct Two;"),
    ];
    let found = doubled(&made_up(files));
    let expected = [
        ("One".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
        (
            "Three".to_owned(),
            vec!["a::inside".to_owned(), "b".to_owned()],
        ),
    ];
    assert_eq!(found, expected.into());
}
