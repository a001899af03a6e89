//! Reading what `copycost run` wrote, from a file that anybody may have changed.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::error::Category;

use super::{LoadCurve, Results, SCHEMA};
use crate::json::{disarmed, within};

/// The largest file that is read, in bytes: a record takes two kilobytes, and the longest runs have thousands.
pub const LARGEST: u64 = 64 << 20;

/// The largest number in a file: it has hundreds of times what an hour can bring about, every other program reads it
/// exactly, and sums do not overflow.
const MOST: u64 = 1 << 53;

/// More records than this, or sizes times clients, are no run: it would take days. Reports look at every pair of them.
const MOST_RECORDS: usize = 20_000;
const MOST_CELLS: usize = 10_000;

/// Of everything else; a record has a few comparisons.
const MOST_OTHERS: usize = 3 * MOST_RECORDS;

/// What is looked at first: in a newer form the rest may be anything.
#[derive(Deserialize)]
struct SchemaHead {
    schema: Option<u32>,
}

impl Results {
    /// The results in `text`, or what is wrong with it, as the end of a sentence that begins with the file's name.
    ///
    /// # Errors
    /// No JSON, no results, or those of a newer version.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = &*disarmed(text);
        match serde_json::from_str::<SchemaHead>(text).map_err(|error| refused(&error))?.schema {
            None => return Err("is not a result of copycost run: it has no schema".to_owned()),
            Some(schema) if schema > SCHEMA => {
                return Err(format!(
                    "has format version {schema}, but this copycost reads versions up to {SCHEMA}: use a \
                     newer copycost"
                ));
            }
            Some(_) => {}
        }
        within(text, MOST).map_err(|error| refused(&error))?;
        let results: Self = serde_json::from_str(text).map_err(|error| refused(&error))?;
        results.can_be()?;
        Ok(results)
    }

    /// An error where reports would take for ever, or a figure lacks its others.
    fn can_be(&self) -> Result<(), String> {
        let Self {
            records,
            failures,
            comparisons,
            crossovers,
            load_curves,
            explanations,
            models,
            verdict,
            ..
        } = self;
        let of_curve = |curve: &LoadCurve| 1 + curve.points.len() + curve.comparisons.len();
        let others = [failures.len(), comparisons.len(), crossovers.len(), verdict.len()];
        let others = others.iter().sum::<usize>() + explanations.len() + models.len();
        let others = others + load_curves.iter().map(of_curve).sum::<usize>();
        let fitted = models.iter().flat_map(|model| &model.models).filter_map(|path| path.model.as_ref());
        if fitted.clone().any(|model| !model.fit.is_of(model.terms.len())) {
            return Err(
                "is not a result of copycost run: the coefficients of a model do not match its terms"
                    .to_owned(),
            );
        }
        let cells = few_cells(records.iter().map(|record| (record.size.bytes, record.clients)));
        if records.len() > MOST_RECORDS || others > MOST_OTHERS || cells.is_err() {
            return Err(format!(
                "is not a result of copycost run: {} records are more than a run writes",
                records.len()
            ));
        }
        Ok(())
    }
}

/// An error where cells have more different sizes and clients than a run.
pub fn few_cells(cells: impl Iterator<Item = (usize, usize)>) -> Result<(), String> {
    let (sizes, clients): (BTreeSet<_>, BTreeSet<_>) = cells.unzip();
    let grid = sizes.len().saturating_mul(clients.len());
    if grid > MOST_CELLS {
        Err(format!("{} sizes and {} clients are too many", sizes.len(), clients.len()))
    } else {
        Ok(())
    }
}

fn refused(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => format!("is not a result of copycost run: {error}"),
        _ => format!("is not a result of copycost run: it is not a complete JSON file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Conditions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).*") {
            prop_assert!(Results::read(&text).is_err());
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let results =
            Results { verdict: vec!["5 \u{b5}s".to_owned()], ..Results::new(Conditions::default()) };
        assert_eq!(Results::read(&serde_json::to_string(&results).unwrap()), Ok(results));
        // Without serde_json's `float_roundtrip` the last digit changes.
        let figure = 1.759_964_433_299_151_6e-9_f64;
        assert_eq!(serde_json::from_str::<f64>(&serde_json::to_string(&figure).unwrap()).unwrap(), figure);
        let deep = "[".repeat(100_000);
        assert!(Results::read(&deep).unwrap_err().contains("not a result of copycost run"));
        assert!(Results::read(&format!("{{\"schema\":1,\"x\":{deep}")).is_err());
    }
}
