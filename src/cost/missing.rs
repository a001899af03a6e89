//! Why a figure is missing. Other tools would print 0 here, which would look like a measurement.
//!
//! The reason is stored with the record. It says what is wrong and, if the user can change it, what to do.

use std::time::Duration;

/// A figure, or the reason why this run or this machine has none.
pub type Measured<T> = Result<T, Missing>;

/// Why a figure is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The machine has no hardware counters; most often it is a virtual machine without a virtual PMU.
    #[error("this machine exposes no PMU")]
    NoPmu,
    /// The CPU, or the kernel's driver for it, has no such event.
    #[error("this CPU has no event {0}")]
    EventUnsupported(&'static str),
    /// The kernel refuses perf events to this user.
    #[error(
        "perf events are refused ({}): run as root, grant CAP_PERFMON or lower it to 1",
        paranoid_text(*.paranoid)
    )]
    NotPermitted {
        /// `/proc/sys/kernel/perf_event_paranoid`, where it could be read.
        paranoid: Option<i32>,
    },
    /// The event happens in the kernel, which this user may not count.
    #[error(
        "{event} happens in the kernel, which is not counted ({}): lower it to 1 or grant CAP_PERFMON",
        paranoid_text(*.paranoid)
    )]
    KernelOnly {
        /// The event's name.
        event: &'static str,
        /// `/proc/sys/kernel/perf_event_paranoid`, where it could be read.
        paranoid: Option<i32>,
    },
    /// The addresses of the kernel's functions read as zero.
    #[error("{}", symbols_text(*.kptr_restrict, *.paranoid))]
    SymbolsHidden {
        /// `/proc/sys/kernel/kptr_restrict`, where it could be read.
        kptr_restrict: Option<i32>,
        /// `/proc/sys/kernel/perf_event_paranoid`, where it could be read.
        paranoid: Option<i32>,
    },
    /// The kernel was built without perf events.
    #[error("this kernel has no perf events (CONFIG_PERF_EVENTS)")]
    NoPerf,
    /// The event was open, but it never got a hardware counter.
    #[error("{0} never got a hardware counter: another program, or the NMI watchdog, holds them")]
    NeverScheduled(&'static str),
    /// No file descriptor was left for the event.
    #[error("no file descriptor left for a perf event: raise the limit of open files (ulimit -n)")]
    TooManyFiles,
    /// The threads counted different events (CPUs of different kinds).
    #[error("the threads counted different events: pin them to CPUs of one kind")]
    MixedEvents,
    /// A system call failed with an error that has no variant of its own.
    #[error("{what}: {error}")]
    Os {
        /// The operation that failed.
        what: &'static str,
        /// The system's error message.
        error: String,
    },
    /// The run was too short for a figure counted in ticks.
    #[error("{figure} needs at least {} s, this run had {:.1}: measure longer", .needs.as_secs(), .had.as_secs_f64())]
    TooShort {
        /// Which figure.
        figure: &'static str,
        /// The shortest run that gives it.
        needs: Duration,
        /// How long the run was.
        had: Duration,
    },
    /// No idle baseline was taken, or the machine was busier in it than in the run.
    #[error("the idle baseline is missing or above the measurement: measure on a quiet machine")]
    NoBaseline,
    /// A file of `/proc` is missing, unreadable or in an unknown format.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: String,
    },
    /// The kernel threads are not visible: a PID namespace.
    #[error("kernel threads are not visible here (PID namespace): run outside the container")]
    KernelThreadsHidden,
    /// The kernel's TCP_INFO does not have the field.
    #[error("this kernel's TCP_INFO has no {field} (needs Linux {since})")]
    OldKernel {
        /// The field.
        field: &'static str,
        /// The first version that has it.
        since: &'static str,
    },
    /// The kernel has no sample of the figure yet.
    #[error("no sample of {0} yet")]
    NoSample(&'static str),
    /// Sender and receiver share CPUs, so a wait in TCP is a wait for the CPU.
    #[error("sender and receiver share CPUs: use --placement split to tell them apart")]
    SharedCpus,
    /// The figure is per byte or per message, and no data was moved.
    #[error("no data was moved")]
    NothingMoved,
    /// The reason that the other host of a measurement gave.
    #[error("{0}")]
    Remote(String),
    /// The measurement was not requested, or this thread is not in the sample that is counted.
    #[error("not measured")]
    NotMeasured,
}

/// A reason is sent between hosts as its sentence.
impl serde::Serialize for Missing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Missing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Missing::Remote)
    }
}

impl Missing {
    /// The error of a system call or of a read.
    pub fn os(what: &'static str, error: &std::io::Error) -> Missing {
        Missing::Os { what, error: error.to_string() }
    }

    /// The error of perf_event_open(2) for `event`.
    pub fn of_perf(error: &std::io::Error, event: &'static str, paranoid: Option<i32>) -> Missing {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Missing::NotPermitted { paranoid },
            Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL) => {
                Missing::EventUnsupported(event)
            }
            Some(libc::EMFILE | libc::ENFILE) => Missing::TooManyFiles,
            Some(libc::ENOSYS) => Missing::NoPerf,
            Some(libc::EBUSY) => Missing::NeverScheduled(event),
            _ => Missing::os("perf_event_open", error),
        }
    }

    /// The error of a file that is missing or in an unknown format.
    pub fn file(path: impl Into<String>, error: impl ToString) -> Missing {
        Missing::File { path: path.into(), error: error.to_string() }
    }
}

/// The setting as scopes and reasons show it.
pub fn paranoid_text(paranoid: Option<i32>) -> String {
    match paranoid {
        Some(level) => format!("perf_event_paranoid={level}"),
        None => "perf_event_paranoid unreadable".to_owned(),
    }
}

/// Why the kernel's symbols are hidden and how to show them (`kallsyms_show_value`, kernel/kallsyms.c): with
/// 0 every user who may profile the kernel sees them, with 1 users with CAP_SYSLOG, with 2 nobody.
fn symbols_text(kptr_restrict: Option<i32>, paranoid: Option<i32>) -> String {
    let why = "kernel functions have no names here";
    match kptr_restrict {
        Some(0) => {
            format!("{why} ({}): run as root, grant CAP_SYSLOG or lower it to 1", paranoid_text(paranoid))
        }
        Some(1) => {
            format!("{why} (kptr_restrict=1): run as root, grant CAP_SYSLOG or set kernel.kptr_restrict=0")
        }
        Some(level) => {
            format!("{why} (kptr_restrict={level}): set kernel.kptr_restrict=1 and run as root, or 0")
        }
        None => format!("{why}: the kernel was built without CONFIG_KALLSYMS, or /proc hides it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences_with_a_remedy() {
        let short = Missing::TooShort {
            figure: "CPU time of the system",
            needs: Duration::from_secs(2),
            had: Duration::from_millis(400),
        };
        assert_eq!(
            short.to_string(),
            "CPU time of the system needs at least 2 s, this run had 0.4: measure longer"
        );
        let refused = Missing::NotPermitted { paranoid: Some(4) };
        assert!(refused.to_string().contains("refused (perf_event_paranoid=4): run as root"));
    }
}
