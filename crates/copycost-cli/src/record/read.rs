//! Reading what `copycost run` wrote, from a file that anybody may have changed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;

use super::{Results, SCHEMA};

/// The largest file that is read, in bytes: a record takes two kilobytes, and the longest runs have thousands.
pub const LARGEST: u64 = 64 << 20;

/// What is looked at first: in a newer form the rest may be anything.
#[derive(Deserialize)]
struct Head {
    schema: Option<u32>,
}

impl Results {
    /// The results in `text`, or what is wrong with it, as the end of a sentence that begins with the file's name.
    ///
    /// # Errors
    /// No JSON, no results, or those of a newer version.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = &*disarmed(text);
        match serde_json::from_str::<Head>(text).map_err(|error| refused(&error))?.schema {
            None => return Err("is no result of copycost run: it has no schema".to_owned()),
            Some(schema) if schema > SCHEMA => {
                return Err(format!(
                    "has the form {schema}, and this version knows {SCHEMA}: use a newer copycost"
                ));
            }
            Some(_) => {}
        }
        serde_json::from_str(text).map_err(|error| refused(&error))
    }
}

fn refused(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => format!("is no result of copycost run: {error}"),
        _ => format!("is no result of copycost run: it is no whole JSON file: {error}"),
    }
}

/// JSON without control characters in its strings, each replaced by a space: a file from elsewhere may be shown on a
/// terminal, which they could steer. Done on the text, because a tree of all values would take up to a hundred times its
/// memory.
fn disarmed(json: &str) -> Cow<'_, str> {
    // In JSON they can only be escaped, or be of those from U+007F on.
    let suspicious = |c: char| c == '\\' || (c.is_control() && !c.is_ascii_whitespace());
    if !json.contains(suspicious) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(suspicious) {
        clean.push_str(&rest[..at]);
        rest = &rest[at..];
        let (taken, harmless) = match rest.strip_prefix('\\') {
            Some(escaped) => escape(escaped),
            None => (rest.chars().next().map_or(1, char::len_utf8), false),
        };
        let (this, after) = rest.split_at(taken.min(rest.len()));
        clean.push_str(if harmless { this } else { " " });
        rest = after;
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// How long an escape is, its backslash included, and whether it stands for no control character. `escaped` follows the
/// backslash; what is no escape is left to the parser, which refuses it.
fn escape(escaped: &str) -> (usize, bool) {
    match escaped.chars().next() {
        Some('n' | 't' | 'r' | 'b' | 'f') => (2, false),
        Some('u') => {
            let code = escaped.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let control = code.and_then(char::from_u32).is_some_and(char::is_control);
            if control { (6, false) } else { (2, true) }
        }
        Some(c) => (1 + c.len_utf8(), true),
        None => (1, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Conditions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_lose_their_control_characters_and_nothing_else(text in "(?s).*", other in "[\\\\\"\u{0}-\u{20}u0-9]*") {
            for text in [text, other] {
                let json = serde_json::to_string_pretty(&[&text]).unwrap();
                let read: Vec<String> = serde_json::from_str(&disarmed(&json)).unwrap();
                prop_assert_eq!(&read[0], &text.replace(char::is_control, " "));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s).*") {
            prop_assert!(Results::read(&text).is_err());
            let _ = disarmed(&text);
        }
    }

    #[test]
    fn every_escape_is_judged_by_what_it_stands_for() {
        for (json, read) in [
            (r#""a\u001b[31mb""#, "a [31mb"),
            (r#""a\\u001b""#, r"a\u001b"),
            (r#""\\\n\"""#, r#"\ ""#),
            (r#""\u009b\u0041\u20ac""#, " A€"),
            ("\"\u{9b}\u{7f}x\"", "  x"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
        ] {
            assert_eq!(serde_json::from_str::<String>(&disarmed(json)).unwrap(), read, "{json}");
        }
        for broken in ["\"\\", "\"\\u", "\"\\u00", "\"\\u+01b\"", "\"\\é\""] {
            assert!(serde_json::from_str::<String>(&disarmed(broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let results =
            Results { verdict: vec!["5 \u{b5}s".to_owned()], ..Results::new(Conditions::default()) };
        assert_eq!(Results::read(&serde_json::to_string(&results).unwrap()), Ok(results));
        let deep = "[".repeat(100_000);
        assert!(Results::read(&deep).unwrap_err().contains("no whole JSON file"));
        assert!(Results::read(&format!("{{\"schema\":1,\"x\":{deep}")).is_err());
    }
}
