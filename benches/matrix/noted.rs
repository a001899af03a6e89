//! A line for each run of the benches, beside Criterion's figures: the time, the commit, the conditions.
//!
//! Criterion keeps the last figure of each benchmark, whenever it was measured, and no date. `copycost report
//! target/criterion` finds by the times of the files which run a figure came from, and says where cells of one plot came
//! from several.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use copycost::internals::sys::rtnetlink;

/// The name that the report looks for.
const RUNS: &str = "copycost-runs.jsonl";

/// Notes this run, once, if it measures: `cargo test` runs benches too, and `--list` only names them.
pub fn run() {
    static ONCE: Once = Once::new();
    let measures =
        std::env::args().any(|word| word == "--bench") && std::env::args().all(|word| word != "--list");
    if measures {
        // Figures without a note are figures all the same.
        ONCE.call_once(|| {
            if let Err(error) = note() {
                eprintln!("note: this run is not noted in {RUNS}: {error}");
            }
        });
    }
}

fn note() -> std::io::Result<()> {
    let folder = folder().ok_or_else(|| std::io::Error::other("Criterion's folder is not known"))?;
    std::fs::create_dir_all(&folder)?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = serde_json::json!({ "began": began, "commit": commit(), "conditions": conditions() });
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(RUNS))?;
    // In one write, so that two benches at once do not mix their lines.
    file.write_all(format!("{line}\n").as_bytes())
}

/// Where Criterion writes: as it chooses it, but for asking cargo.
fn folder() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    // A bench is target/release/deps/throughput-0123.
    let built_in = || Some(std::env::current_exe().ok()?.ancestors().nth(3)?.to_owned());
    named("CRITERION_HOME").or_else(|| Some(named("CARGO_TARGET_DIR").or_else(built_in)?.join("criterion")))
}

fn commit() -> Option<String> {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=12"];
    let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim().to_owned())
}

/// What moves figures and differs from day to day, in words.
fn conditions() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lo = rtnetlink::interfaces().unwrap_or_default().into_iter().find(|link| link.name == "lo");
    let Some(lo) = lo else { return format!("Linux {}", kernel.trim()) };
    let qdiscs = rtnetlink::qdiscs().unwrap_or_default();
    let qdiscs: Vec<String> = qdiscs
        .into_iter()
        .filter(|qdisc| qdisc.index == lo.index)
        .map(|qdisc| {
            qdisc.shaping.map_or_else(|| qdisc.kind.clone(), |does| format!("{} {does}", qdisc.kind))
        })
        .collect();
    format!("Linux {}, lo with MTU {} and {}", kernel.trim(), lo.mtu, qdiscs.join(", "))
}
