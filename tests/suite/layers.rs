//! The layers are true: a file imports only from rows below its own in the drawing of its crate's `lib.rs`, and no two files of a folder
//! need each other.
//!
//! Code of tests may look anywhere, and a module and its submodules may need each other: the parent has the shape, the children have its
//! forms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item};

use super::source::{self, Module, from_the_top, leaves};

/// What the files of a crate refer to.
struct Layers {
    name: &'static str,
    /// Modules with files of their own, and what each refers to in its crate.
    references: BTreeMap<Module, Vec<Module>>,
    /// The modules in the drawing, and in which row each stands, from above.
    rows: BTreeMap<Module, usize>,
}

const CRATES: [(&str, &str); 3] =
    [("copycost", "src"), ("copycost-cli", "crates/copycost-cli/src"), ("zerosend", "crates/zerosend/src")];

impl Layers {
    fn read(name: &'static str, folder: &str) -> Self {
        let mut source = source::read(folder);
        let lib = fs::read_to_string(source::root().join(folder).join("lib.rs")).unwrap();
        let modules: BTreeSet<Module> = source.keys().cloned().collect();
        // What the crate itself declares and offers is no layer.
        let exports = exports(&source.remove(&Module::new()).unwrap());
        let references = source.into_iter().map(|(module, items)| {
            let mut finder = Finder { module: module.clone(), paths: Vec::new() };
            items.iter().for_each(|item| finder.visit_item(item));
            let owner = |path: &Vec<String>| owner(path, &module, &modules, &exports);
            let found = finder.paths.iter().filter_map(owner).collect();
            (module, found)
        });
        Self { name, rows: drawn(&lib, &modules), references: references.collect() }
    }

    /// The module of the drawing that `module` belongs to, and its row.
    fn row(&self, module: &Module) -> Option<(&[String], usize)> {
        (1..=module.len()).rev().find_map(|length| {
            let (found, row) = self.rows.get_key_value(&module[..length])?;
            Some((found.as_slice(), *row))
        })
    }
}

/// The rows of the first drawing in `lib.rs`: names of modules, two blanks between them, before what is said of them.
fn drawn(lib: &str, modules: &BTreeSet<Module>) -> BTreeMap<Module, usize> {
    let lines = lib.lines().map(|line| line.trim_start_matches("//!").trim_start_matches(' '));
    let drawing = lines.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```");
    let mut rows = BTreeMap::new();
    for (row, line) in drawing.enumerate() {
        let names = line.split("  ").filter(|word| !word.is_empty());
        let named = names.map(|name| name.trim().split("::").map(str::to_owned).collect::<Module>());
        for module in named.take_while(|module| modules.contains(module)) {
            assert!(rows.insert(module.clone(), row).is_none(), "{} is drawn twice", module.join("::"));
        }
    }
    rows
}

/// The names that the crate offers at its top, and the module that each is in.
fn exports(lib: &[Item]) -> BTreeMap<String, Module> {
    let uses = lib.iter().filter_map(|item| if let Item::Use(item) = item { Some(&item.tree) } else { None });
    uses.flat_map(leaves).map(|(path, name)| (name, path[..path.len() - 1].to_vec())).collect()
}

/// The module that `path`, seen from `module`, leads into; `None`: out of the crate.
fn owner(
    path: &[String],
    module: &Module,
    modules: &BTreeSet<Module>,
    exports: &BTreeMap<String, Module>,
) -> Option<Module> {
    let mut absolute = from_the_top(path, module)?;
    // What the crate opens for others is not another way in for its own files.
    if absolute.first().is_some_and(|first| first == "internals") {
        absolute.remove(0);
    }
    if let Some(exported) = absolute.first().and_then(|name| exports.get(name))
        && !modules.contains(&absolute[..1])
    {
        absolute = exported.clone();
    }
    while !modules.contains(&absolute) {
        absolute.pop()?;
    }
    Some(absolute)
}

/// Finds the paths of a file that begin with `crate`, `super` or `self`, outside tests.
struct Finder {
    module: Module,
    paths: Vec<Vec<String>>,
}

impl Finder {
    /// Paths among the tokens of a macro.
    fn see_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut after_separator = true;
        for tree in tokens {
            match tree {
                TokenTree::Ident(ident) if after_separator || path.is_empty() => {
                    path.push(ident.to_string());
                    after_separator = false;
                }
                // The first colon of two; a single one ends a path.
                TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                    after_separator = true;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && after_separator => {}
                other => {
                    self.paths.push(std::mem::take(&mut path));
                    after_separator = false;
                    match other {
                        TokenTree::Ident(ident) => path.push(ident.to_string()),
                        TokenTree::Group(group) => self.see_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.paths.push(path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if is_of_tests(attributes) {
            return;
        }
        match item {
            // In it `super` is this file's module, and what it needs of it is not another file's.
            Item::Mod(inner) if inner.content.is_some() => {
                self.module.push(inner.ident.to_string());
                let before = self.paths.len();
                visit::visit_item(self, item);
                for path in &mut self.paths[before..] {
                    if path.first().is_some_and(|first| first == "super") {
                        path.remove(0);
                        if path.first().is_none_or(|first| first != "super") {
                            path.insert(0, "self".to_owned());
                        }
                    }
                }
                self.module.pop();
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.paths.extend(leaves(&item.tree).into_iter().map(|(path, _)| path));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.see_tokens(item.tokens.clone());
    }
}

#[test]
fn each_file_imports_only_from_rows_below_its_own() {
    let mut wrong = Vec::new();
    for (name, folder) in CRATES {
        let layers = Layers::read(name, folder);
        for (module, references) in &layers.references {
            let Some((own, row)) = layers.row(module) else {
                wrong.push(format!("{name}: {} is not in the drawing of lib.rs", module.join("::")));
                continue;
            };
            for other in references.iter().filter(|other| !other.is_empty()) {
                let Some((target, below)) = layers.row(other) else { continue };
                // A module that is drawn inside another one belongs to it as well.
                if target != own && !own.starts_with(target) && !target.starts_with(own) && below <= row {
                    wrong.push(format!("{name}: {} imports from {}", module.join("::"), other.join("::")));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_of_a_folder_need_each_other() {
    let mut circles = Vec::new();
    for (name, folder) in CRATES {
        let layers = Layers::read(name, folder);
        let mut needs: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, references) in &layers.references {
            for other in references {
                let common = module.iter().zip(other).take_while(|(one, other)| one == other).count();
                // The rows of the drawing keep those at the top apart. Where one is inside the other there are no two siblings.
                if common > 0 && common < module.len() && common < other.len() {
                    needs.entry(module[..=common].to_vec()).or_default().insert(other[..=common].to_vec());
                }
            }
        }
        for start in needs.keys() {
            if let Some(way) = way_back(start, &needs) {
                circles.push(format!("{}: {}", layers.name, way.join(" > ")));
            }
        }
    }
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

/// How `start` needs itself, over others.
fn way_back(start: &Module, needs: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<String>> {
    let mut ways: Vec<Vec<&Module>> = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in needs.get(*way.last()?).into_iter().flatten() {
            if next == start {
                return Some(way.iter().chain([&start]).map(|module| module.join("::")).collect());
            }
            if seen.insert(next) {
                ways.push([way.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

#[test]
fn what_is_not_allowed_is_found() {
    let paths = |text: &str| {
        let mut finder = Finder { module: vec!["low".to_owned()], paths: Vec::new() };
        finder.visit_file(&syn::parse_file(text).unwrap());
        let paths = finder.paths.into_iter().filter(|path| path.first().is_some_and(|first| first != "std"));
        paths.map(|path| path.join("::")).filter(|path| path.contains("::")).collect::<Vec<_>>()
    };
    assert_eq!(paths("use crate::{high::A, other};"), ["crate::high::A", "crate::other"]);
    assert_eq!(paths("fn f() -> super::high::A { crate::g() }"), ["super::high::A", "crate::g"]);
    assert_eq!(paths("fn f() { assert!(1 == crate::high::g(2)) }"), ["crate::high::g"]);
    assert_eq!(paths("fn f() { m!(field: crate::high::T, a::b) }"), ["crate::high::T", "a::b"]);
    assert_eq!(paths("mod inner { fn f() { super::g(); super::super::h() } }"), ["self::g", "super::h"]);
    assert!(paths("#[cfg(test)] mod tests { use crate::high::A; }").is_empty());
    assert!(paths("impl A { #[cfg(test)] fn f() { crate::high::g() } }").is_empty());
    let modules = [vec![], vec!["low".to_owned()], vec!["high".to_owned()]].into();
    let owner = |path: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let exports = [("Name".to_owned(), vec!["high".to_owned()])].into();
        super::layers::owner(&path, &vec!["low".to_owned()], &modules, &exports)
    };
    for path in
        ["crate::high::A", "super::high", "crate::Name", "crate::Name::new", "crate::internals::high::A"]
    {
        assert_eq!(owner(path), Some(vec!["high".to_owned()]), "{path}");
    }
    assert_eq!(owner("self::own"), Some(vec!["low".to_owned()]));
    assert_eq!(owner("std::io"), None);
}
