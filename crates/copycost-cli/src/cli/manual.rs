//! `copycost completions` and `copycost man`, generated from the definitions of the flags so that they always agree.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{Done, Failure, output};

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Write copycost.1, copycost-run.1, … into this folder
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Completions {
    pub fn run(&self, mut command: clap::Command) -> Result<Done, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "copycost", &mut text);
        output::print(&String::from_utf8_lossy(&text));
        Ok(Done::Yes)
    }
}

impl Man {
    pub fn run(&self, command: clap::Command) -> Result<Done, Failure> {
        if let Some(folder) = &self.folder {
            clap_mangen::generate_to(command, folder).map_err(|error| {
                let folder = folder.display();
                Failure::Usage(format!("invalid value for --folder: '{folder}' cannot be written: {error}"))
            })?;
            return Ok(Done::Yes);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| Failure::Failed(format!("the manual page was not made: {error}")))?;
        output::print(&String::from_utf8_lossy(&page));
        Ok(Done::Yes)
    }
}
