//! What a cell sends: messages of one size, or of a workload. Tables and sentences name cells by it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use copycost::scenario::Scenario;
use copycost::units::{ByteSize, plural};
use copycost::workload::Workload;

/// The size of a cell's messages: of all of them, or the mean of a workload with its name. In records these are the keys
/// `size` and `workload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MessageSize {
    /// Bytes; of a workload the mean, rounded.
    #[serde(rename = "size")]
    pub bytes: usize,
    /// What the messages are if they are not all the same: `mix etc`, `trace access.csv`.
    #[serde(default, rename = "workload", skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadName>,
}

/// The name of a workload. It is small, because every cell of every table has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName(&'static str);

/// Every name so far. A process meets few, so they are never freed.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// A longer name would not fit into a table.
const LONGEST: usize = 28;

impl WorkloadName {
    fn new(name: &str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Self(known);
        }
        let name: &'static str = Box::leak(name.into());
        names.insert(name);
        Self(name)
    }

    /// The name of a workload: that of a published mix or of a trace, or the number of sizes.
    pub fn of(workload: &Workload) -> Self {
        let kind = if workload.is_trace() { "trace" } else { "mix" };
        let name = format!("{kind} {}", workload.name());
        if name.chars().count() <= LONGEST && !name.contains(':') {
            return Self::new(&name);
        }
        Self::new(&format!("{kind} of {}", plural(workload.classes().len(), "size")))
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl Serialize for WorkloadName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for WorkloadName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Self::new(&name.chars().take(LONGEST).collect::<String>()))
    }
}

impl MessageSize {
    /// Messages of this many bytes each.
    pub fn of_bytes(bytes: usize) -> Self {
        Self { bytes, workload: None }
    }

    /// The messages of `scenario`.
    pub fn of(scenario: &Scenario) -> Self {
        let workload = scenario.workload.as_deref().map(WorkloadName::of);
        Self { bytes: scenario.spec.size, workload }
    }

    /// What an id of a benchmark says: a number of bytes, or `mix-etc`.
    pub fn of_id(id: &str) -> Option<Self> {
        let Some(name) = id.strip_prefix("mix-") else { return Some(Self::of_bytes(id.parse().ok()?)) };
        let bytes = Workload::mix(name, Default::default()).map_or(0, |workload| workload.mean_size());
        Some(Self { bytes, workload: Some(WorkloadName::new(&format!("mix {name}"))) })
    }

    /// For a sentence: `at 64 KiB`, `for the mix etc`.
    pub fn at(&self) -> String {
        match self.workload {
            None => format!("at {self}"),
            Some(name) => format!("for the {name}"),
        }
    }
}

impl From<usize> for MessageSize {
    fn from(bytes: usize) -> Self {
        Self::of_bytes(bytes)
    }
}

/// Whether the messages all have this many bytes.
impl PartialEq<usize> for MessageSize {
    fn eq(&self, bytes: &usize) -> bool {
        *self == Self::of_bytes(*bytes)
    }
}

impl fmt::Display for MessageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.workload {
            None => ByteSize(self.bytes).fmt(f),
            Some(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_without_a_workload_is_written_as_before() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Cell {
            path: String,
            #[serde(flatten)]
            size: MessageSize,
            clients: usize,
        }
        let cell = |size| Cell { path: "onecopy".to_owned(), size, clients: 2 };
        let text = serde_json::to_string(&cell(MessageSize::of_bytes(1024))).unwrap();
        assert_eq!(text, r#"{"path":"onecopy","size":1024,"clients":2}"#);
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell(MessageSize::of_bytes(1024)));
        let mixed = MessageSize { bytes: 90, workload: Some(WorkloadName::new("mix etc")) };
        let text = serde_json::to_string(&cell(mixed)).unwrap();
        assert_eq!(text, r#"{"path":"onecopy","size":90,"workload":"mix etc","clients":2}"#);
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell(mixed));
        assert_eq!((mixed.to_string(), mixed.at()), ("mix etc".to_owned(), "for the mix etc".to_owned()));
        assert_eq!(MessageSize::of_bytes(65_536).at(), "at 64 KiB");
    }

    #[test]
    fn a_long_name_is_the_number_of_sizes() {
        let name =
            |text: &str| WorkloadName::of(&Workload::mix(text, Default::default()).unwrap()).to_string();
        assert_eq!(name("512B:60%,16KiB:30%,1MiB:10%"), "mix of 3 sizes");
    }
}
