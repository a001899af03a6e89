//! The command as users meet it: real processes, real connections, files and a browser.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/results.rs"]
mod results;

mod background;
mod buffer_offsets;
mod cli;
mod dated;
mod docs;
mod doctor;
mod explain;
mod foreign;
mod lab;
mod names;
mod namespaces;
mod open_loop;
mod output_files;
mod places;
mod predict;
mod report;
mod report_page;
mod security;
mod small_cache;
mod two_hosts;
mod unread;
mod watch;
mod watch_servers;
mod workload;
