//! `copycost list`: every send path, what it does, and whether it can be had here.

use clap::Args;
use serde::Serialize;

use super::{Done, Failure, output};
use crate::message::Spec;
use crate::report::list_table;
use crate::send;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The form: table or json
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

#[derive(Debug, Serialize)]
struct Entry {
    path: &'static str,
    about: &'static str,
    available: bool,
    reason: Option<String>,
}

impl Arguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let entries = entries()?;
        if self.format == "json" {
            let text = serde_json::to_string_pretty(&entries).map_err(|e| Failure::Failed(e.to_string()))?;
            output::print(&format!("{text}\n"))?;
        } else {
            output::print(&list_table(&entries.iter().map(Entry::row).collect::<Vec<_>>()))?;
        }
        Ok(Done::Yes)
    }
}

fn entries() -> Result<Vec<Entry>, Failure> {
    let spec = Spec::new(65_536).map_err(|e| Failure::Failed(e.to_string()))?;
    let entry = |path: &send::SendPath| {
        let reason = (path.probe)(&spec).err().map(|reason| reason.to_string());
        Entry { path: path.name, about: path.about, available: reason.is_none(), reason }
    };
    Ok(send::ALL.iter().map(entry).collect())
}

impl Entry {
    fn row(&self) -> [String; 3] {
        let here = if self.available { "yes" } else { "no" };
        let what =
            self.reason.as_ref().map_or_else(|| self.about.to_owned(), |r| format!("{} ({r})", self.about));
        [self.path.to_owned(), here.to_owned(), what]
    }
}
