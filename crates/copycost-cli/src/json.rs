//! JSON that others wrote, before it is believed: its strings may be shown on a terminal, and its numbers are added up.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// JSON without control characters in its strings, each replaced by a space: a file from elsewhere may be shown on a
/// terminal, which they could steer. Done on the text, because a tree of all values would take up to a hundred times its
/// memory.
pub fn disarmed(json: &str) -> Cow<'_, str> {
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
            let code = escaped
                .get(1..5)
                .filter(|digits| !digits.starts_with('+'))
                .and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let control = code.and_then(char::from_u32).is_some_and(char::is_control);
            if control { (6, false) } else { (2, true) }
        }
        Some(c) => (1 + c.len_utf8(), true),
        None => (1, true),
    }
}

/// An error where a whole number of `json` is beyond `most`. It takes no memory, however long the text is.
pub fn within(json: &str, most: u64) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Within(most).deserialize(&mut reader)?;
    reader.end()
}

#[derive(Clone, Copy)]
struct Within(u64);

impl<'de> DeserializeSeed<'de> for Within {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whole numbers up to {}", self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        if number <= self.0 { Ok(()) } else { Err(E::custom(format!("{number} is out of range"))) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_u64(number.unsigned_abs())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        fn any_text_is_answered(text in "(?s).*") {
            let _ = (disarmed(&text), within(&text, 1));
        }

        #[test]
        fn every_number_is_judged(number: i64, depth in 0usize..100) {
            let json = format!("{}{{\"a\":[null,true,\"x\",0.5,{number}]}}{}", "[".repeat(depth), "]".repeat(depth));
            prop_assert_eq!(within(&json, 1 << 53).is_ok(), number.unsigned_abs() <= 1 << 53);
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
    fn neither_depth_nor_length_costs_memory() {
        assert!(within(&"[".repeat(1 << 20), 1).is_err());
        assert!(within(&format!("[{}0]", "[],".repeat(1 << 18)), 1).is_ok());
    }
}
