//! The command as users meet it: real processes, real connections, files and a browser.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/results.rs"]
mod results;

mod cli;
mod dated;
mod doctor;
mod explain;
mod lab;
mod namespaces;
mod places;
mod predict;
mod report;
mod report_page;
mod security;
mod two_hosts;
