//! The documentation is true as far as a machine can tell: commands are understood, links lead somewhere.
//!
//! - here: the pages, and what is asked of them; that the table of paths agrees with the lists is asked in the library's
//!   tests, which know the lists
//! - `commands`: command lines in code; `links`: links and headings; `runs`: what runs here is run once

mod commands;
mod links;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use self::commands::{Line, lines};
use self::links::{anchors, links};

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every page with its text: those at the top, and all below `docs`.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<_> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.into_iter().map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

#[test]
fn every_command_line_is_understood() {
    let mut understood = 0;
    let mut refused = Vec::new();
    for (page, text) in pages() {
        for Line { number, words } in lines(&text) {
            let Some(arguments) = commands::of_copycost(&words) else { continue };
            match copycost_cli::cli::parses(&arguments) {
                Ok(()) => understood += 1,
                Err(error) => refused.push(format!("{}:{number}: {arguments:?}: {error}", page.display())),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(understood >= 50, "only {understood} command lines were found");
}

#[test]
fn every_target_of_cargo_is_there() {
    let manifests = ["Cargo.toml", "crates/copycost-cli/Cargo.toml"]
        .map(|name| fs::read_to_string(root().join(name)).unwrap());
    let there = |name: &str| manifests.iter().any(|text| text.contains(&format!("name = \"{name}\"")));
    for (page, text) in pages() {
        for Line { number, words } in lines(&text) {
            for target in commands::targets_of_cargo(&words) {
                assert!(there(target), "{}:{number}: there is no target {target}", page.display());
            }
        }
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for (page, text) in pages() {
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((&*link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: no such file: {link}", page.display());
            if let Some(anchor) = anchor {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.iter().any(|known| known == anchor), "{}: {link}: {there:?}", page.display());
            }
        }
    }
}

#[test]
fn every_page_is_reached_from_the_front_page() {
    let pages = pages();
    let mut reached = vec![root().join("README.md")];
    let mut next = 0;
    while let Some(page) = reached.get(next).cloned() {
        next += 1;
        let Some((_, text)) = pages.iter().find(|(known, _)| *known == page) else { continue };
        for link in links(text) {
            let file = link.split('#').next().unwrap_or_default();
            let target = page.parent().unwrap().join(file).canonicalize();
            if let Ok(target) = target
                && !reached.contains(&target)
            {
                reached.push(target);
            }
        }
    }
    for (page, _) in &pages {
        assert!(reached.contains(page), "no link leads to {}", page.display());
    }
}

#[test]
fn the_page_about_doctor_has_every_check_and_no_other() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md")).unwrap();
    let table = page.split("| subject | checks |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut named: Vec<&str> = table.split('`').skip(1).step_by(2).collect();
    let mut checks: Vec<&str> = copycost_cli::doctor::CHECKS.iter().map(|check| check.id).collect();
    named.sort_unstable();
    checks.sort_unstable();
    assert_eq!(named, checks);
}
