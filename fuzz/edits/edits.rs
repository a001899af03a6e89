//! Changes to a JSON value, each four bytes: they get past a parser, which changed bytes of a text rarely do. For the fuzz
//! target `results` and for the command's tests.

use serde_json::{Value, json};

/// Goes down to a value, two bytes for the way, and puts another in its place, or takes it away, or doubles it.
pub fn change(value: &mut Value, edit: &[u8]) {
    let [a, b, c, what] = [0, 1, 2, 3].map(|at| edit.get(at).copied().unwrap_or(0));
    let mut way = u32::from_le_bytes([a, b, c, 0]) as usize;
    let mut at = value;
    loop {
        let count = match &*at {
            Value::Array(values) => values.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        if count == 0 {
            *at = other(what, at);
            return;
        }
        let index = way % count;
        way /= count;
        // Rarely a whole branch.
        let stop = way == 0 && what >= 192;
        match at {
            Value::Array(values) if stop => {
                match what % 2 {
                    0 => drop(values.remove(index)),
                    _ => values.push(values[index].clone()),
                }
                return;
            }
            Value::Object(fields) if stop => {
                let name = fields.keys().nth(index).cloned().unwrap_or_default();
                fields.insert(name, other(what, &Value::Null));
                return;
            }
            Value::Array(values) => at = &mut values[index],
            Value::Object(fields) => match fields.values_mut().nth(index) {
                Some(field) => at = field,
                None => return,
            },
            _ => return,
        }
    }
}

fn other(what: u8, old: &Value) -> Value {
    match what % 24 {
        0 => json!(0),
        1 => json!(1),
        2 => json!(-1),
        3 => json!(1u64 << 53),
        4 => json!(u64::MAX),
        5 => json!(1e308),
        6 => json!(5e-324),
        7 => json!(-0.0),
        8 => json!(-1e308),
        9 => json!(null),
        10 => json!(""),
        11 => json!("\u{1b}[31m\u{9b}\r\n\u{7f}"),
        12 => json!("é".repeat(300)),
        13 => json!("<script>&\"'"),
        14 => json!([]),
        15 => json!({}),
        16 => json!(true),
        17 => json!(0.5),
        18 => json!(usize::MAX >> 11),
        19 => json!("onecopy"),
        20 => json!("lab"),
        21 => json!(format!("{},{}", u64::MAX >> 12, usize::MAX)),
        22 => json!("throughput"),
        _ => old.as_f64().map_or(json!("unknown: "), |number| json!(number * -1.5)),
    }
}
