//! The tables of all paths in `docs/paths.md` are those of the lists, and what `docs/tuning.md` names exists.

use std::fs;
use std::path::Path;

use copycost::recv;
use copycost::send::{self, Release};

/// The rows of the section about every path whose first cell is a name in code, cell by cell.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/paths.md")).unwrap();
    let section =
        page.split("\n## ").find(|section| section.starts_with("Every path\n")).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_path_is_in_the_tables_and_no_other() {
    let names: Vec<String> = rows().iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let listed: Vec<&str> =
        send::ALL.iter().map(|path| path.name).chain(recv::ALL.iter().map(|path| path.name)).collect();
    let missing: Vec<_> = listed.iter().filter(|path| !names.iter().any(|name| name == *path)).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} stand in no table: add a line to the section \"Every path\" of docs/paths.md, such as\n\
         | `{}` | its copies, in order, and who makes them | on return | what was measured |",
        missing[0]
    );
    assert_eq!(names, listed, "docs/paths.md has the paths in another order, or one that no list has");
}

#[test]
fn the_tables_say_when_memory_is_free_and_what_delays() {
    for (path, row) in send::ALL.iter().zip(rows()) {
        let free = match path.release {
            Release::OnReturn => "on return",
            Release::OnFlush => "on flush",
            Release::OnCompletion => "on completion",
            Release::Never => "never",
        };
        assert_eq!(row[2], free, "{}", path.name);
        assert_eq!(row[1].contains("delay"), path.delays, "{}: {}", path.name, row[1]);
        assert!(!row[3].is_empty(), "{}", path.name);
    }
}

/// Sources by their paths from the root.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_constants_and_files_of_the_page_about_tuning_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    ["src", "benches", "crates"].iter().for_each(|folder| sources(&root.join(folder), &mut found));
    let page = fs::read_to_string(root.join("docs/tuning.md")).unwrap();
    // Every second part of a line stands between backticks.
    let names = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut seen = 0;
    for name in names {
        if name.ends_with(".rs") {
            assert!(found.iter().any(|(path, _)| path.ends_with(&format!("/{name}"))), "there is no {name}");
            seen += 1;
        } else if name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            let defined = [format!("const {name}:"), format!("static {name}:")];
            let is_there = found.iter().any(|(_, text)| defined.iter().any(|line| text.contains(line)));
            assert!(is_there || KERNELS.contains(&name), "docs/tuning.md: no constant {name}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// Names in capitals that are the kernel's.
const KERNELS: [&str; 4] = ["SO_SNDBUF", "SO_RCVBUF", "MSG_ZEROCOPY", "SO_BUSY_POLL"];
