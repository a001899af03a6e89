//! Hints for users who write a flag of iperf3, hyperfine or another tool: the flag that does the same here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flags of other tools, and what to write instead.
const KNOWN: [(&[&str], &str); 16] = [
    (&["--json", "-J"], "write --format json"),
    (&["--csv"], "write --format csv"),
    (&["--export-json", "--logfile"], "write -o FILE.json"),
    (&["--export-csv"], "write -o FILE.csv"),
    (&["--export-markdown"], "write -o FILE.md"),
    (&["-P", "--parallel"], "for connections write --clients N"),
    (&["-t", "--time"], "write --seconds S for each path and cell, or --budget TIME for all of it"),
    (&["-l", "--len", "--length", "--message-size"], "write --size SIZE"),
    (&["-Z", "--zerocopy"], "write --path onecopy,zerocopy to compare both"),
    (&["-b", "--bitrate", "--bandwidth"], "for the cores that a load takes write --at 25Gbit"),
    (&["-n", "--bytes", "-k", "--blockcount"], "write --seconds S: runs are of a length of time"),
    (
        &["-r", "--runs", "-m", "--min-runs", "-M", "--max-runs"],
        "write --precision 1% or --budget TIME: they decide how often",
    ),
    (&["-w", "--warmup"], "leave it out: every set-up warms itself"),
    (&["-R", "--reverse"], "leave it out: the server sends, and the clients receive"),
    (&["-u", "--udp"], "leave it out: copycost measures TCP"),
    (&["--help-all", "-?"], "write --help"),
];

/// The error and what to write instead, in one line. `None` means that no other tool is known to have such a flag.
pub fn of(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else { return None };
    let name = flag.split('=').next().unwrap_or(flag);
    let (_, instead) = KNOWN.iter().find(|(flags, _)| flags.contains(&name))?;
    Some(format!("error: there is no {name} here: {instead}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_flag_of_another_tool_gets_a_hint() {
        for (flags, instead) in KNOWN {
            for flag in flags {
                let error = crate::cli::CommandLine::try_parse_from(["copycost", "run", flag]).unwrap_err();
                let hint = of(&error).unwrap_or_else(|| panic!("{flag}: {error}"));
                assert!(hint.contains(flag) && hint.ends_with(instead), "{hint}");
            }
        }
        let named: BTreeSet<_> = KNOWN.iter().flat_map(|(flags, _)| *flags).collect();
        assert_eq!(
            named.len(),
            KNOWN.iter().map(|(flags, _)| flags.len()).sum::<usize>(),
            "one is named twice"
        );
    }

    #[test]
    fn the_flags_in_hints_parse() {
        for line in [
            "run --format json",
            "run --clients 3",
            "run --seconds 1",
            "run --budget 30s",
            "run --size 1KiB",
            "run --path onecopy,zerocopy",
            "run --at 25Gbit",
            "run --precision 1%",
            "run -o x.md",
        ] {
            let arguments = ["copycost"].into_iter().chain(line.split(' '));
            crate::cli::CommandLine::try_parse_from(arguments).unwrap();
        }
        let error = crate::cli::CommandLine::try_parse_from(["copycost", "run", "--nonsense"]).unwrap_err();
        assert_eq!(of(&error), None);
    }
}
