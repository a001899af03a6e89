//! `copycost list`: every send and receive path, what it does, and whether it is available here; and every published mix.

use clap::Args;
use serde::Serialize;

use super::{Done, Failure, output};
use crate::report::list_table;
use copycost::message::Spec;
use copycost::recv;
use copycost::send;
use copycost::workload::published;

#[derive(Debug, Args)]
pub struct ListArguments {
    /// The format: table or json
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

#[derive(Debug, Serialize)]
struct ListEntry {
    /// `send`, `receive` or `mix`.
    family: &'static str,
    path: &'static str,
    about: &'static str,
    /// Other names of the path.
    also: &'static [&'static str],
    available: bool,
    reason: Option<String>,
    /// Of a mix: where it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// The flag that makes the path available; `None` if it needs none.
    needs: Option<String>,
}

impl ListArguments {
    pub fn run(&self) -> Result<Done, Failure> {
        let entries = entries()?;
        if self.format == "json" {
            let text = serde_json::to_string_pretty(&entries).map_err(|e| Failure::Failed(e.to_string()))?;
            output::print(&format!("{text}\n"));
        } else {
            let rows =
                |family| entries.iter().filter(move |entry| entry.family == family).map(ListEntry::row);
            let [send, receive] = ["send", "receive"].map(|family| rows(family).collect::<Vec<_>>());
            let screen = output::screen();
            output::print(&list_table("path", &send, screen));
            output::print(&format!("\n{}", list_table("--receive", &receive, screen)));
            let mixes: Vec<_> = rows("mix").collect();
            output::print(&format!("\n{}", list_table("--mix", &mixes, screen)));
        }
        Ok(Done::Yes)
    }
}

fn entries() -> Result<Vec<ListEntry>, Failure> {
    let spec = Spec::new(65_536).map_err(|e| Failure::Failed(e.to_string()))?;
    let send = send::ALL.iter().map(|path| ListEntry::of_send(path, &spec));
    let receive = recv::ALL.iter().map(ListEntry::of_receive);
    Ok(send.chain(receive).chain(published::ALL.iter().map(ListEntry::of_mix)).collect())
}

impl ListEntry {
    fn of_send(path: &send::SendPath, spec: &Spec) -> Self {
        let nearest = path.nearest(spec);
        let needs = nearest.as_ref().ok().filter(|nearest| nearest.layout != spec.layout);
        Self {
            family: "send",
            path: path.name,
            about: path.description,
            also: path.aliases,
            available: nearest.is_ok(),
            source: None,
            needs: needs.map(|nearest| format!("--layout {}", nearest.layout)),
            reason: nearest.err().map(|reason| reason.to_string()),
        }
    }

    fn of_receive(path: &recv::ReceivePath) -> Self {
        let reason = (path.probe)(false).err().map(|reason| reason.to_string());
        let (family, available) = ("receive", reason.is_none());
        Self {
            family,
            path: path.name,
            about: path.description,
            also: &[],
            available,
            source: None,
            reason,
            needs: None,
        }
    }

    fn of_mix(mix: &published::Published) -> Self {
        Self {
            family: "mix",
            path: mix.name,
            about: mix.description,
            also: &[],
            available: true,
            source: Some(mix.source),
            reason: None,
            needs: None,
        }
    }

    fn row(&self) -> [String; 3] {
        let here = if self.available { "yes" } else { "no" };
        let but = self.needs.as_ref().map(|flag| format!("with {flag}")).or_else(|| self.reason.clone());
        let what = but.map_or_else(|| self.about.to_owned(), |but| format!("{} ({but})", self.about));
        [self.path.to_owned(), here.to_owned(), what]
    }
}
