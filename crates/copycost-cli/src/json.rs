//! Checks on JSON from elsewhere: its strings may be shown on a terminal, and its numbers are summed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Replaces every control character in the strings of `json` by a space, because such a character could send commands
/// to the terminal. Works on the text: a tree of all values would take up to a hundred times its memory.
pub fn disarmed(json: &str) -> Cow<'_, str> {
    // JSON requires an escape for control characters below U+0020; those from U+007F on may appear as they are.
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
        let (found, remaining) = rest.split_at(taken.min(rest.len()));
        clean.push_str(if harmless { found } else { " " });
        rest = remaining;
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// The length of an escape with its backslash, and whether it is harmless (no control character). `escaped` is the text
/// after the backslash. An invalid escape is left to the parser, which rejects it.
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

/// Checks that no whole number in `json` exceeds `most`. It allocates nothing, however long the text is.
///
/// # Errors
/// A number is out of range, or the text is not JSON.
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
        fn no_text_panics(text in "(?s).*") {
            let _ = (disarmed(&text), within(&text, 1));
        }

        #[test]
        fn every_number_is_checked(number: i64, depth in 0usize..100) {
            let json = format!("{}{{\"a\":[null,true,\"x\",0.5,{number}]}}{}", "[".repeat(depth), "]".repeat(depth));
            prop_assert_eq!(within(&json, 1 << 53).is_ok(), number.unsigned_abs() <= 1 << 53);
        }
    }

    #[test]
    fn only_escapes_of_control_characters_are_replaced() {
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
