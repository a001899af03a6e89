//! Records the commit that the command was built from: a condition of every result. Only a checkout of this repository
//! has one; a published package says its version.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // Another repository that this package lies in, vendored say, has commits of its own; it may have a folder
    // `crates` too, but not the library beside it.
    let ours = git(&package, &["ls-files", "--error-unmatch", "Cargo.toml", "../../src/send/zero_copy.rs"])
        .is_some()
        && git(&package, &["rev-parse", "--show-prefix"]).as_deref() == Some("crates/copycost-cli/");
    if !ours {
        return;
    }
    // HEAD changes with a checkout, its log with a commit too; in a worktree both lie elsewhere. Not the index: the
    // `git describe` below writes it, and each build would have the next one run this script again.
    let git_files = ["HEAD", "logs/HEAD"]
        .into_iter()
        .filter_map(|name| git(&package, &["rev-parse", "--git-path", name]));
    // What makes the build differ from the commit.
    let sources =
        ["src", "Cargo.toml", "../../src", "../../Cargo.toml", "../../Cargo.lock"].map(str::to_owned);
    for path in git_files.chain(sources).map(|path| package.join(path)) {
        // A file that does not exist would have this script run at every build.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    if let Some(commit) = git(&package, &["describe", "--always", "--dirty", "--abbrev=12"]) {
        println!("cargo::rustc-env=COPYCOST_COMMIT={commit}");
    }
}

/// What git says in `folder`; `None` where there is no git, or it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(folder).args(arguments).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim().to_owned())
}
