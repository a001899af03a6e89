//! The public items of the crates that others take stand in the tree: a change of what is promised shows in a diff.
//!
//! `COPYCOST_UPDATE=1 cargo test -p copycost --test suite public_items` writes the lists anew.

use std::collections::BTreeSet;
use std::fs;

use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, Visibility};

use super::source::{self, Module, Source, from_the_top, leaves};

const LISTS: [(&str, &str, &str); 2] = [
    ("copycost", "src", "public-items.txt"),
    ("zerosend", "crates/zerosend/src", "crates/zerosend/public-items.txt"),
];

/// Public, and not hidden from the documentation.
fn is_offered(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes)
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<syn::Path>().is_ok_and(|argument| argument.is_ident("hidden"))
    })
}

fn name_and_kind(item: &Item) -> Option<(String, &'static str, &Visibility, &[Attribute])> {
    Some(match item {
        Item::Const(item) => (item.ident.to_string(), "const", &item.vis, &item.attrs),
        Item::Enum(item) => (item.ident.to_string(), "enum", &item.vis, &item.attrs),
        Item::Fn(item) => (item.sig.ident.to_string(), "fn", &item.vis, &item.attrs),
        Item::Static(item) => (item.ident.to_string(), "static", &item.vis, &item.attrs),
        Item::Struct(item) => (item.ident.to_string(), "struct", &item.vis, &item.attrs),
        Item::Trait(item) => (item.ident.to_string(), "trait", &item.vis, &item.attrs),
        Item::Type(item) => (item.ident.to_string(), "type", &item.vis, &item.attrs),
        Item::Mod(item) => (item.ident.to_string(), "mod", &item.vis, &item.attrs),
        _ => return None,
    })
}

/// Every public item that a user can name, sorted, each with its kind.
fn list(name: &str, of_crate: &Source) -> Vec<String> {
    let mut lines = BTreeSet::new();
    list_module(&[name.to_owned()], &Module::new(), of_crate, &mut lines);
    lines.into_iter().collect()
}

fn list_module(shown: &[String], module: &Module, of_crate: &Source, lines: &mut BTreeSet<String>) {
    for item in &of_crate[module] {
        if let Item::Use(reexport) = item
            && is_offered(&reexport.vis, &reexport.attrs)
        {
            for (path, name) in leaves(&reexport.tree) {
                let Some((owner, original)) = resolve(&path, module, of_crate) else { continue };
                list_item(shown, &name, &owner, &original, of_crate, lines);
            }
            continue;
        }
        let Some((name, kind, visibility, attributes)) = name_and_kind(item) else { continue };
        if is_offered(visibility, attributes) {
            if kind == "mod" {
                let inner = [module.as_slice(), std::slice::from_ref(&name)].concat();
                lines.insert(format!("{}::{name}  mod", shown.join("::")));
                if of_crate.contains_key(&inner) {
                    list_module(&[shown, &[name]].concat(), &inner, of_crate, lines);
                }
            } else {
                list_item(shown, &name, module, &name, of_crate, lines);
            }
        }
    }
}

/// The item `original` of the module `owner`, shown as `name`, with its members.
fn list_item(
    shown: &[String],
    name: &str,
    owner: &Module,
    original: &str,
    of_crate: &Source,
    lines: &mut BTreeSet<String>,
) {
    let found = of_crate[owner]
        .iter()
        .find(|item| name_and_kind(item).is_some_and(|(name, kind, ..)| name == original && kind != "mod"));
    let full = [shown, &[name.to_owned()]].concat().join("::");
    let Some(item) = found else {
        // Passed on once more.
        for item in &of_crate[owner] {
            let Item::Use(reexport) = item else { continue };
            let passed = leaves(&reexport.tree).into_iter().find(|(_, name)| name == original);
            if let Some((path, _)) = passed
                && let Some((owner, original)) = resolve(&path, owner, of_crate)
            {
                list_item(shown, name, &owner, &original, of_crate, lines);
            }
        }
        return;
    };
    let (_, kind, ..) = name_and_kind(item).unwrap();
    lines.insert(format!("{full}  {kind}"));
    let mut member = |name: String, kind: &str| lines.insert(format!("{full}::{name}  {kind}"));
    match item {
        Item::Struct(item) => {
            if let Fields::Named(fields) = &item.fields {
                for field in fields.named.iter().filter(|field| is_offered(&field.vis, &field.attrs)) {
                    member(field.ident.as_ref().unwrap().to_string(), "field");
                }
            }
        }
        Item::Enum(item) => {
            for variant in item.variants.iter().filter(|variant| !is_hidden(&variant.attrs)) {
                member(variant.ident.to_string(), "variant");
            }
        }
        Item::Trait(item) => {
            for inner in &item.items {
                if let TraitItem::Fn(method) = inner {
                    member(method.sig.ident.to_string(), "fn");
                }
            }
        }
        _ => {}
    }
    for item in of_crate.values().flatten() {
        let Item::Impl(implementation) = item else { continue };
        let Type::Path(of) = &*implementation.self_ty else { continue };
        let same = of.path.segments.last().is_some_and(|last| last.ident == original);
        if implementation.trait_.is_some() || !same {
            continue;
        }
        for inner in &implementation.items {
            match inner {
                ImplItem::Fn(method) if is_offered(&method.vis, &method.attrs) => {
                    member(method.sig.ident.to_string(), "fn");
                }
                ImplItem::Const(inner) if is_offered(&inner.vis, &inner.attrs) => {
                    member(inner.ident.to_string(), "const");
                }
                _ => {}
            }
        }
    }
}

/// The module and the item that a path in `module` names; `None`: of another crate.
fn resolve(path: &[String], module: &Module, of_crate: &Source) -> Option<(Module, String)> {
    let absolute = from_the_top(path, module).unwrap_or_else(|| [module.as_slice(), path].concat());
    let (original, owner) = absolute.split_last()?;
    of_crate.contains_key(owner).then(|| (owner.to_vec(), original.clone()))
}

#[test]
fn the_lists_of_public_items_are_those_of_the_source() {
    for (name, folder, file) in LISTS {
        let listed = list(name, &source::read(folder)).join("\n") + "\n";
        let file = source::root().join(file);
        if std::env::var_os("COPYCOST_UPDATE").is_some() {
            fs::write(&file, &listed).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let (kept, listed): (BTreeSet<_>, BTreeSet<_>) = (kept.lines().collect(), listed.lines().collect());
        let (gone, new): (Vec<_>, Vec<_>) =
            (kept.difference(&listed).collect(), listed.difference(&kept).collect());
        assert!(
            gone.is_empty() && new.is_empty(),
            "{} is not what {name} offers: gone {gone:#?}, new {new:#?}. If that is meant, run\n\
             COPYCOST_UPDATE=1 cargo test -p copycost --test suite public_items",
            file.display()
        );
        assert!(listed.len() > 50, "{name}: {}", listed.len());
    }
}

#[test]
fn what_is_offered_is_found_and_what_is_not_is_not() {
    let of_crate = Source::from([
        (
            vec![],
            source::parse(
                "mod inner; pub mod open; pub use inner::{A, hidden as shown}; #[doc(hidden)] pub fn g() {}",
            ),
        ),
        (
            vec!["inner".to_owned()],
            source::parse(
                "pub struct A { pub b: u8, c: u8 } impl A { pub fn d() {} fn e() {} } pub fn hidden() {} pub fn f() {}",
            ),
        ),
        (
            vec!["open".to_owned()],
            source::parse("pub use crate::inner::A; pub(crate) fn h() {} pub enum E { V }"),
        ),
    ]);
    let expected = [
        "x::A  struct",
        "x::A::b  field",
        "x::A::d  fn",
        "x::open  mod",
        "x::open::A  struct",
        "x::open::A::b  field",
        "x::open::A::d  fn",
        "x::open::E  enum",
        "x::open::E::V  variant",
        "x::shown  fn",
    ];
    assert_eq!(list("x", &of_crate), expected);
}
