//! Parsers of flags whose values are words: they refuse as the words' own parser does, and name the words to a shell that
//! completes them.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

use super::arguments::{self, PathChoice};
use copycost::message::{Footprint, Layout};
use copycost::recv::{self, ReceivePath};
use copycost::scenario::Placement;
use copycost::send;

/// A parser, and words that it takes.
#[derive(Debug, Clone)]
pub struct WordParser<T> {
    read: fn(&str) -> Result<T, String>,
    words: Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for WordParser<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.read.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().copied().map(PossibleValue::new)))
    }
}

/// Send paths, and all.
pub fn path() -> WordParser<PathChoice> {
    let words = send::ALL.iter().map(|path| path.name).chain(["all"]);
    WordParser { read: arguments::path, words: words.collect() }
}

/// Receive paths.
pub fn receive() -> WordParser<&'static ReceivePath> {
    WordParser { read: arguments::receive, words: recv::ALL.iter().map(|path| path.name).collect() }
}

/// Where threads sit.
pub fn placement() -> WordParser<Placement> {
    of(Placement::WORDS)
}

/// Where fields lie.
pub fn layout() -> WordParser<Layout> {
    of(Layout::WORDS)
}

/// How much memory messages cover.
pub fn footprint() -> WordParser<Footprint> {
    of(Footprint::WORDS)
}

fn of<T: FromStr<Err = String>>(words: &[&'static str]) -> WordParser<T> {
    WordParser { read: |text| text.parse(), words: words.to_vec() }
}
