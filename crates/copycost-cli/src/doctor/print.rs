//! Findings as text and as JSON.
//!
//! These are pure functions, so that snapshots can test them and the command only chooses the destination.

use std::fmt::Write;

use serde_json::{Value, json};

use super::finding::{Finding, Status};

/// Columns that a printed line may take.
const WIDTH: usize = 100;
/// Columns before the text: the longest mark, `distorts`, and a space on each side of it.
const INDENT: usize = 10;

/// The findings as text of at most 100 columns, worst first, each with its mark and its fix.
///
/// A longer word, such as the path of a container's control group, is not broken, because a broken path cannot be
/// copied.
pub fn render(findings: &[Finding]) -> String {
    let mut text = self::findings(findings);
    let counts: Vec<String> = Status::WORST_FIRST
        .iter()
        .map(|&status| (status, findings.iter().filter(|finding| finding.status == status).count()))
        .filter(|&(_, count)| count > 0)
        .map(|(status, count)| format!("{count} {}", status.mark()))
        .collect();
    let _ = writeln!(text, "\n{} checks: {}. Run fixes in a root shell.", findings.len(), counts.join(", "));
    text
}

/// Like [`render`], without the final line of counts.
pub fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for status in Status::WORST_FIRST {
        for finding in findings.iter().filter(|finding| finding.status == status) {
            let mut sentences = format!("{}: {}", finding.check, finding.told);
            if let Some(effect) = &finding.effect {
                sentences = format!("{sentences} {effect}");
            }
            wrap(&mut text, &format!(" {:<9}", status.mark()), &sentences);
            if let Some(fix) = &finding.fix {
                wrap(&mut text, &" ".repeat(INDENT), &format!("fix: {fix}"));
            }
        }
    }
    text
}

fn wrap(text: &mut String, first: &str, sentences: &str) {
    let mut line = first.to_string();
    let mut empty = true;
    for word in sentences.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}

/// The findings as JSON: `{"ready": bool, "findings": [{"check", "status", "told", "effect", "fix"}]}`.
///
/// `ready` is false exactly when the command exits with 3.
pub fn to_json(findings: &[Finding]) -> Value {
    json!({ "ready": super::exit_code(findings) == 0, "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_stay_whole_and_short_ones_wrap() {
        let mut text = String::new();
        wrap(&mut text, " note     ", &format!("{} {}", "word ".repeat(30), "x".repeat(120)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[..lines.len() - 1].iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(lines[lines.len() - 1].trim(), "x".repeat(120));
    }
}
