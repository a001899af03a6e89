//! Reads a trace: a CSV file with a message on each line, in the order in which a server sent them.
//!
//! Columns are named by a first line, of `size`, `fields`, `connection` and `time`, or without one are the message, the
//! connection and the time in this order. A message is a size, or the lengths of its fields joined by plus signs. Times are
//! in seconds; they are checked and not used.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Failure;
use copycost::message::{Fields, Lengths, Spec};
use copycost::units::ByteSize;
use copycost::workload::{MessageClass, TraceLine, Workload};

/// The most messages of a trace: with more, reading it takes longer than measuring.
const MOST_LINES: usize = 50_000_000;

/// The most bytes that are read.
const MOST_BYTES: u64 = 4 << 30;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Message,
    Connection,
    Time,
    /// A column with another name.
    Unknown,
}

/// The trace in `file`. `fields` divides the messages of which only the size is known.
pub fn read(file: &Path, fields: Fields) -> Result<Workload, Failure> {
    let shown = file.display();
    let failed = |why: String| Failure::Usage(format!("invalid value for --trace: '{shown}': {why}"));
    let opened = File::open(file).map_err(|error| failed(format!("it cannot be read: {error}")))?;
    let name = file.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let (lines, connections) = lines(opened.take(MOST_BYTES), fields).map_err(failed)?;
    Workload::trace(&name, lines, connections).map_err(|error| failed(error.to_string()))
}

/// The messages, and whether their connections are known. The error says in which line it is.
fn lines(input: impl Read, fields: Fields) -> Result<(Vec<TraceLine>, bool), String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(input);
    let mut columns: Option<Vec<Column>> = None;
    let (mut messages, mut numbers, mut last) = (Vec::new(), HashMap::new(), f64::MIN);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| in_words(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |why: String| format!("line {line}: {why}");
        if record.iter().all(str::is_empty) {
            continue;
        }
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                let named = named(&record).map_err(wrong)?;
                let without = vec![Column::Message, Column::Connection, Column::Time];
                let is_header = named.is_some();
                let columns = columns.insert(named.unwrap_or(without));
                if is_header {
                    continue;
                }
                columns
            }
        };
        if record.len() > columns.len() {
            return Err(wrong(format!(
                "it has {} columns, and {} were expected",
                record.len(),
                columns.len()
            )));
        }
        let (mut message, mut connection) = (None, 0);
        for (column, text) in columns.iter().zip(&record) {
            match column {
                Column::Message => message = Some(self::message(text, fields).map_err(wrong)?),
                Column::Connection => {
                    let next = numbers.len() as u32;
                    connection = *numbers.entry(text.to_owned()).or_insert(next);
                }
                Column::Time => {
                    let time = text.parse::<f64>().ok().filter(|time| time.is_finite());
                    let time = time.ok_or_else(|| wrong(format!("'{text}' is not a time in seconds")))?;
                    if time < last {
                        return Err(wrong(format!("the time {text} is before that of the message above it")));
                    }
                    last = time;
                }
                Column::Unknown => {}
            }
        }
        let message = message.ok_or_else(|| wrong("it has no size".to_owned()))?;
        if messages.len() == MOST_LINES {
            return Err(format!("it has more than {MOST_LINES} messages: use a part of it"));
        }
        messages.push(TraceLine { message, connection });
    }
    if messages.is_empty() {
        return Err("there is no message in it".to_owned());
    }
    Ok((messages, numbers.len() > 1))
}

/// The columns that a first line names; `None` if it is a message.
fn named(record: &csv::StringRecord) -> Result<Option<Vec<Column>>, String> {
    let first = record.get(0).unwrap_or_default();
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(None);
    }
    let column = |name: &str| match name.to_ascii_lowercase().as_str() {
        "size" | "fields" | "bytes" => Column::Message,
        "connection" => Column::Connection,
        "time" => Column::Time,
        _ => Column::Unknown,
    };
    let columns: Vec<_> = record.iter().map(column).collect();
    match columns.iter().filter(|column| **column == Column::Message).count() {
        1 => Ok(Some(columns)),
        0 => Err(format!("'{first}' is not a size, and no column is called size or fields")),
        _ => Err("more than one column is called size, bytes or fields".to_owned()),
    }
}

/// A size, or lengths of fields joined by plus signs.
fn message(text: &str, fields: Fields) -> Result<MessageClass, String> {
    let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).map_err(|error| error.to_string());
    if text.contains('+') {
        let lengths = text.split('+').map(size).collect::<Result<Vec<_>, _>>()?;
        let exact = Lengths::new(&lengths).map(Fields::Exact);
        let exact =
            exact.ok_or_else(|| format!("'{text}' is not one to eight lengths of at least one byte"))?;
        let size = exact.size().unwrap_or(0);
        Spec::new(size).map_err(|error| error.to_string())?;
        return Ok(MessageClass { size, fields: exact });
    }
    let size = size(text)?;
    Spec::new(size).map_err(|error| error.to_string())?;
    Ok(MessageClass { size, fields })
}

fn in_words(error: &csv::Error) -> String {
    let line = error.position().map_or(String::new(), |position| format!("line {}: ", position.line()));
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => format!("{line}it is not UTF-8 text"),
        csv::ErrorKind::Io(error) => format!("it cannot be read: {error}"),
        _ => format!("{line}{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(Vec<TraceLine>, bool), String> {
        lines(text.as_bytes(), Fields::Single)
    }

    fn sizes(text: &str) -> Vec<usize> {
        read(text)
            .unwrap_or_else(|error| panic!("{text:?}: {error}"))
            .0
            .iter()
            .map(|line| line.message.size)
            .collect()
    }

    #[test]
    fn a_message_is_a_line_however_lines_end() {
        for text in [
            "512\n16KiB\n64+448\n",
            "512\r\n16KiB\r\n64+448",
            "\u{feff}512\n16KiB\n64+448\n",
            "\u{feff}size\r\n512\r\n16KiB\r\n64+448\r\n",
            "# from the access log\nsize\n512\n\n16KiB\n64+448\n",
            "time,size\n0.1,512\n0.1,16KiB\n7,64+448\n",
            "bytes,what\n512,a\n16KiB,b\n64+448,\n",
            "512,a,0\n16KiB,b,0.5\n64+448,a,0.5\n",
        ] {
            assert_eq!(sizes(text), [512, 16_384, 512], "{text:?}");
        }
        let (lines, connections) = read("size,connection\n8,web\n9,api\n10,web\n").unwrap();
        assert!(connections);
        assert_eq!(lines.iter().map(|line| line.connection).collect::<Vec<_>>(), [0, 1, 0]);
        assert!(!read("8,web\n9,web\n").unwrap().1, "one connection divides nothing");
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, part) in [
            ("", "no message"),
            ("\n\n", "no message"),
            ("size\n", "no message"),
            ("512\nhello\n", "line 2: 'hello' is not a size"),
            ("512\n7\n", "line 2: size must be between 8 bytes"),
            ("512\n-1\n", "line 2: '-1'"),
            ("512\n4GiB\n", "line 2: size must be"),
            ("512\n1+1+1\n", "line 2: size must be"),
            ("512\n64+\n", "line 2"),
            ("512\n1+1+1+1+1+1+1+1+1\n", "line 2: '1+1+1+1+1+1+1+1+1' is not one to eight"),
            ("what\n512\n", "line 1: 'what' is not a size, and no column"),
            ("size,fields\n512,512\n", "line 1: more than one column"),
            ("512,a,0,extra\n", "line 1: it has 4 columns"),
            ("512,a,x\n", "line 1: 'x' is not a time"),
            ("512,a,2\n512,a,1\n", "line 2: the time 1 is before"),
            ("time,size\n1\n", "line 2: it has no size"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let error = lines(&b"512\n\xff\xfe\n"[..], Fields::Single).unwrap_err();
        assert!(error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn a_million_lines_are_read() {
        let text: String = (0..1_000_000).map(|i| format!("{}\n", 100 + i % 50)).collect();
        let (lines, _) = read(&text).unwrap();
        let trace = Workload::trace("long", lines, false).unwrap();
        assert_eq!((trace.messages(), trace.classes().len()), (1_000_000, 50));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}", bytes: Vec<u8>) {
            let _ = read(&text);
            let _ = lines(&bytes[..], Fields::Even);
        }
    }
}
