//! A name of a known set, as records keep it: in words, so that other programs read it and later versions can add some.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of the names of `T`, or the text of a later version that this one does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<T> {
    /// A name that this version knows.
    Known(T),
    /// Any other text.
    Other(String),
}

impl<T: PartialEq> Named<T> {
    /// Whether it is this one.
    pub fn is(&self, value: T) -> bool {
        matches!(self, Self::Known(known) if *known == value)
    }
}

impl<T> Named<T> {
    /// The value; `None` for a text that this version does not know.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T: FromStr> From<&str> for Named<T> {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Other(text.to_owned()), Self::Known)
    }
}

impl<T: fmt::Display> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Other(text) => f.pad(text),
        }
    }
}

impl<T: fmt::Display> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Judgement;

    #[test]
    fn known_names_are_values_and_others_stay_as_they_are() {
        for text in ["faster", "much faster", ""] {
            let json = serde_json::to_string(text).unwrap();
            let read: Named<Judgement> = serde_json::from_str(&json).unwrap();
            assert_eq!(read.is(Judgement::Faster), text == "faster", "{text}");
            assert_eq!(read.known().is_some(), text == "faster", "{text}");
            assert_eq!((read.to_string(), serde_json::to_string(&read).unwrap()), (text.to_owned(), json));
        }
    }
}
