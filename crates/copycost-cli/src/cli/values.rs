//! Parsers of flags with named values. They give the errors of the type's own parser, and list the names for shell
//! completion.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

use super::arguments::{self, PathChoice};
use copycost::message::{Footprint, Layout};
use copycost::recv::{self, ReceivePath};
use copycost::rig::Arrivals;
use copycost::scenario::Placement;
use copycost::send;

/// A parser, and the names that it accepts.
#[derive(Debug, Clone)]
pub struct WordParser<T> {
    read: fn(&str) -> Result<T, String>,
    names: Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for WordParser<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.read.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().copied().map(PossibleValue::new)))
    }
}

/// The parser of `--path`: the send paths, and `all`.
pub fn path() -> WordParser<PathChoice> {
    let names = send::ALL.iter().map(|path| path.name).chain(["all"]);
    WordParser { read: arguments::path, names: names.collect() }
}

/// The parser of `--receive`: the receive paths.
pub fn receive() -> WordParser<&'static ReceivePath> {
    WordParser { read: arguments::receive, names: recv::ALL.iter().map(|path| path.name).collect() }
}

/// The parser of `--placement`: on which CPUs threads run.
pub fn placement() -> WordParser<Placement> {
    of(Placement::NAMES)
}

/// The parser of `--arrivals`: how due times are spread.
pub fn arrivals() -> WordParser<Arrivals> {
    of(Arrivals::NAMES)
}

/// The parser of `--layout`: where fields lie in memory.
pub fn layout() -> WordParser<Layout> {
    of(Layout::NAMES)
}

/// The parser of `--footprint`: how much memory messages cover.
pub fn footprint() -> WordParser<Footprint> {
    of(Footprint::NAMES)
}

fn of<T: FromStr<Err = String>>(names: &[&'static str]) -> WordParser<T> {
    WordParser { read: |text| text.parse(), names: names.to_vec() }
}
