//! Records the commit that the command was built from: a condition of every result. Only a checkout of this repository
//! has one; a published package says its version.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    // Another repository that this package lies in, vendored say, has commits of its own.
    let ours = git(&package, &["ls-files", "--error-unmatch", "Cargo.toml"]).is_some()
        && git(&package, &["rev-parse", "--show-prefix"]).as_deref() == Some("crates/copycost-cli/");
    if !ours {
        return;
    }
    // HEAD changes with a checkout, its log with a commit too; in a worktree both lie elsewhere. A file that does not
    // exist would have this script run at every build.
    for name in ["HEAD", "logs/HEAD", "index"] {
        let Some(path) = git(&package, &["rev-parse", "--git-path", name]) else { continue };
        let path = package.join(path);
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
