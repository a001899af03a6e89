//! Results as JSON, in the format that `record` defines.

use crate::record::Results;

/// All of `results` as indented JSON.
pub(super) fn results(results: &Results) -> String {
    #[allow(
        clippy::expect_used,
        reason = "records hold strings, numbers and lists: none of them can fail to serialize"
    )]
    let mut text = serde_json::to_string_pretty(results).expect("records serialize");
    text.push('\n');
    text
}
