//! The source of a crate as items, for the tests of its layers and of its public items.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proc_macro2::TokenTree;
use syn::{Item, UseTree};

/// A module's path in its crate; empty for the crate itself.
pub type Module = Vec<String>;

/// The items of each module with a file of its own, without those of tests. Items in a `cfg_if!` stand where it does.
pub type Source = BTreeMap<Module, Vec<Item>>;

/// The source below `folder`, from the root of the repository.
pub fn read(folder: &str) -> Source {
    let mut source = Source::new();
    read_folder(&root().join(folder), &Module::new(), &mut source);
    source
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read_folder(folder: &Path, module: &Module, source: &mut Source) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module.as_slice(), std::slice::from_ref(&name)].concat();
        match name.as_str() {
            "tests" | "main" => {}
            _ if path.is_dir() => read_folder(&path, &inner, source),
            _ if path.extension().is_none_or(|extension| extension != "rs") => {}
            "mod" | "lib" => drop(source.insert(module.clone(), parse(&fs::read_to_string(path).unwrap()))),
            _ => drop(source.insert(inner, parse(&fs::read_to_string(path).unwrap()))),
        }
    }
}

/// The items of a file.
pub fn parse(text: &str) -> Vec<Item> {
    syn::parse_file(text).unwrap().items.into_iter().flat_map(unfolded).collect()
}

/// The items of a `cfg_if!`, and any other item as it is.
fn unfolded(item: Item) -> Vec<Item> {
    let Item::Macro(choice) = &item else { return vec![item] };
    if choice.mac.path.segments.last().is_none_or(|name| name.ident != "cfg_if") {
        return vec![item];
    }
    let mut items = Vec::new();
    for tree in choice.mac.tokens.clone() {
        if let TokenTree::Group(group) = tree
            && let Ok(file) = syn::parse2::<syn::File>(group.stream())
        {
            items.extend(file.items);
        }
    }
    items
}

/// The paths of a `use`, each with the name that it gives; `*` for all names.
pub fn leaves(tree: &UseTree) -> Vec<(Module, String)> {
    let one = |name: String, given: String| vec![(vec![name], given)];
    match tree {
        UseTree::Path(path) => leaves(&path.tree)
            .into_iter()
            .map(|(rest, name)| ([vec![path.ident.to_string()], rest].concat(), name))
            .collect(),
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Name(name) => one(name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(name) => one(name.ident.to_string(), name.rename.to_string()),
        UseTree::Glob(_) => one("*".to_owned(), "*".to_owned()),
    }
}

/// A path that begins with `crate`, `self` or `super` in `module`, from the crate's top; `None` for another one.
pub fn from_the_top(path: &[String], module: &Module) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module.as_slice(), rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat())
        }
        _ => None,
    }
}
