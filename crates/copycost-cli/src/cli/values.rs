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
pub struct Words<T> {
    read: fn(&str) -> Result<T, String>,
    words: Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Words<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.read.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.words.iter().copied().map(PossibleValue::new)))
    }
}

/// Send paths, and all.
pub fn path() -> Words<PathChoice> {
    let words = send::ALL.iter().map(|path| path.name).chain(["all"]);
    Words { read: arguments::path, words: words.collect() }
}

/// Receive paths.
pub fn receive() -> Words<&'static ReceivePath> {
    Words { read: arguments::receive, words: recv::ALL.iter().map(|path| path.name).collect() }
}

/// Where threads sit.
pub fn placement() -> Words<Placement> {
    of(Placement::WORDS)
}

/// Where fields lie.
pub fn layout() -> Words<Layout> {
    of(Layout::WORDS)
}

/// How much memory messages cover.
pub fn footprint() -> Words<Footprint> {
    of(Footprint::WORDS)
}

fn of<T: FromStr<Err = String>>(words: &[&'static str]) -> Words<T> {
    Words { read: |text| text.parse(), words: words.to_vec() }
}
