//! Least squares with relative weights for a few terms. It orthogonalises the columns one after the other (modified
//! Gram-Schmidt, Å. Björck, BIT 7 (1967), 1-21), which also finds columns that cannot be separated.

use crate::stats::two_sided_quantile;

/// A column is a combination of the columns before it if they leave a smaller share of its length than this. The error
/// of its coefficient would be ten times the error of the cells or more.
const LEFT_OVER: f64 = 0.1;

/// Why there is no fit.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoFit {
    /// No degree of freedom would be left to estimate the error of the fit.
    #[error("{rows} cells are too few to fit {columns} terms and estimate their error: measure at least {}", columns + 2)]
    TooFew {
        /// The number of measured cells.
        rows: usize,
        /// The number of terms.
        columns: usize,
    },
    /// A column is a combination of those before it.
    #[error("term {column} varies with the others in every cell: measure cells in which it does not")]
    Collinear {
        /// The index of the column, from 0.
        column: usize,
    },
    /// A value that no measurement can have.
    #[error("row {row} has a value that is not positive and finite: check why it moved no data")]
    NotPositive {
        /// The index of the row, from 0.
        row: usize,
    },
}

/// One measured cell.
#[derive(Debug, Clone, PartialEq)]
pub struct FitRow {
    /// The amount of each term.
    pub terms: Vec<f64>,
    /// The measured value; positive.
    pub value: f64,
    /// The weight, positive: the inverse of its variance relative to that of a usual cell.
    pub weight: f64,
}

/// Coefficients, and what is needed for the errors of coefficients and predictions.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Fit {
    /// One coefficient for each term.
    pub coefficients: Vec<f64>,
    /// The inverse of the weighted normal matrix, row by row.
    pub inverse: Vec<Vec<f64>>,
    /// The standard deviation of a cell of weight 1 around the fit, relative to its value.
    pub spread: f64,
    /// The degrees of freedom: cells minus terms.
    pub freedom: usize,
}

/// Fits `rows`. Each is weighted by its weight and by the inverse square of its value, so that an error of 5 % counts
/// the same for small and large values.
///
/// # Errors
/// [`NoFit`] for too few rows, columns that cannot be separated, or values that are not positive and finite.
pub fn fit(rows: &[FitRow]) -> Result<Fit, NoFit> {
    let columns = rows.first().map_or(0, |row| row.terms.len());
    if rows.len() < columns + 2 || columns == 0 {
        return Err(NoFit::TooFew { rows: rows.len(), columns });
    }
    let positive = |value: f64| value > 0.0 && value.is_finite();
    let good = |row: &FitRow| {
        positive(row.value) && positive(row.weight) && row.terms.iter().all(|term| term.is_finite())
    };
    if let Some(row) = rows.iter().position(|row| !good(row)) {
        return Err(NoFit::NotPositive { row });
    }
    let mut basis: Vec<Vec<f64>> = Vec::new();
    // For each column, its share of each basis vector up to its own.
    let mut shares: Vec<Vec<f64>> = Vec::new();
    for column in 0..columns {
        let mut vector: Vec<f64> =
            rows.iter().map(|row| row.weight.sqrt() * row.terms[column] / row.value).collect();
        let whole = length(&vector);
        let mut column_shares = Vec::with_capacity(column + 1);
        for unit in &basis {
            let share = product(unit, &vector);
            column_shares.push(share);
            vector.iter_mut().zip(unit).for_each(|(value, unit)| *value -= share * unit);
        }
        let left = length(&vector);
        if !(left > LEFT_OVER * whole && left > 0.0) {
            return Err(NoFit::Collinear { column });
        }
        column_shares.push(left);
        shares.push(column_shares);
        basis.push(vector.iter().map(|value| value / left).collect());
    }
    // The weighted values; each is divided by itself, which leaves the root of its weight.
    let mut rest: Vec<f64> = rows.iter().map(|row| row.weight.sqrt()).collect();
    let mut right = Vec::with_capacity(columns);
    for unit in &basis {
        let share = product(unit, &rest);
        rest.iter_mut().zip(unit).for_each(|(value, unit)| *value -= share * unit);
        right.push(share);
    }
    let freedom = rows.len() - columns;
    let upper = invert(&shares);
    let coefficients = upper.iter().map(|row| product(row, &right)).collect();
    let inverse = upper.iter().map(|one| upper.iter().map(|other| product(one, other)).collect()).collect();
    let spread = (product(&rest, &rest) / freedom as f64).sqrt();
    Ok(Fit { coefficients, inverse, spread, freedom })
}

impl Fit {
    /// Whether the numbers of coefficients and rows fit this number of terms. A damaged file may hold other numbers.
    pub fn is_of(&self, terms: usize) -> bool {
        let square = self.inverse.len() == terms && self.inverse.iter().all(|row| row.len() == terms);
        square && self.coefficients.len() == terms
    }

    /// Half of the interval of a coefficient, which misses with probability `alpha`.
    pub fn reach(&self, term: usize, alpha: f64) -> f64 {
        two_sided_quantile(alpha, self.freedom) * self.spread * self.inverse[term][term].max(0.0).sqrt()
    }

    /// The t of a coefficient: its value in units of its standard error.
    pub fn t(&self, term: usize) -> f64 {
        let error = self.spread * self.inverse[term][term].max(0.0).sqrt();
        self.coefficients[term] / error.max(f64::MIN_POSITIVE)
    }

    /// The value of a cell with these terms.
    pub fn value(&self, terms: &[f64]) -> f64 {
        product(&self.coefficients, terms)
    }

    /// The standard deviation of such a cell around [`Fit::value`], relative to it. It includes the errors of the
    /// coefficients and of the cell itself, with a weight of 1.
    pub fn relative_error(&self, terms: &[f64]) -> f64 {
        let value = self.value(terms);
        let of_line = |row: &Vec<f64>| product(row, terms);
        let variance: f64 = self.inverse.iter().map(of_line).zip(terms).map(|(line, term)| line * term).sum();
        self.spread * (1.0 + variance.max(0.0) / (value * value)).sqrt()
    }
}

fn product(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn length(vector: &[f64]) -> f64 {
    product(vector, vector).sqrt()
}

/// The inverse, by rows, of an upper triangular matrix given by columns. The diagonal must not contain zeros.
fn invert(columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut inverse = vec![vec![0.0; columns.len()]; columns.len()];
    for (column, values) in columns.iter().enumerate() {
        let last = values[column];
        inverse[column][column] = 1.0 / last;
        // The entries of the rows above follow from their entries in the columns before.
        for row in inverse.iter_mut().take(column) {
            row[column] = -product(row, &values[..column]) / last;
        }
    }
    inverse
}

#[cfg(test)]
mod tests;
