//! The tables of all paths in `docs/paths.md` are those of the lists.

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
