//! Reads the results that Criterion keeps of copycost's benches, as sets of rows. The functions are pure: the command
//! reads the files and passes their text.
//!
//! Criterion 0.8 writes, for each benchmark, `{group}/{function}/{value}/new/` with
//!
//! - `raw.csv`, a documented format (with the feature `csv_output`, which the benches enable), one line per sample:
//!   `group,function,value,throughput_num,throughput_type,sample_measured_value,unit,iteration_count`. The measured value
//!   is the sum over the iterations;
//! - `benchmark.json` (`group_id`, `function_id`, `value_str`, `throughput`) and `sample.json` (`iters`, `times`): the
//!   same in an undocumented format, which is the fallback without a `raw.csv`.
//!
//! The groups of copycost are `{path}` (ns per round, with its bytes), `{path}-cpu` (ns/KiB) and `{path}-latency` (ns
//! per message). Function and value are size and clients.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bench_runs::Dated;
use super::metric::{RecordFigure, RecordMetric};
use super::set::{RecordSet, SetRow};
use crate::record::{MessageSize, few_cells};

/// A benchmark: its name and the mean time of one iteration.
#[derive(Debug, Clone, PartialEq)]
pub struct Benchmark {
    /// The name of the Criterion group.
    pub group: String,
    function: Option<String>,
    value: Option<String>,
    bytes: Option<f64>,
    mean: RecordFigure,
    /// The date and the build of the measurement; `None` if unknown.
    pub measured: Option<Dated>,
}

#[derive(Deserialize)]
struct RawLine {
    group: String,
    function: Option<String>,
    value: Option<String>,
    throughput_num: Option<String>,
    throughput_type: Option<String>,
    sample_measured_value: f64,
    iteration_count: f64,
}

#[derive(Deserialize)]
struct NamedBenchmark {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    throughput: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Sampled {
    iters: Vec<f64>,
    times: Vec<f64>,
}

impl Benchmark {
    /// Parses the text of `raw.csv`.
    pub fn from_raw(text: &str) -> Result<Self, String> {
        let lines: Result<Vec<RawLine>, _> =
            csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
        let lines = lines.map_err(|error| error.to_string())?;
        let first = lines.first().ok_or("it holds no sample")?;
        let bytes =
            first.throughput_num.as_ref().filter(|_| first.throughput_type.as_deref() == Some("bytes"));
        Ok(Self {
            group: first.group.clone(),
            function: first.function.clone(),
            value: first.value.clone(),
            bytes: bytes.and_then(|number| number.parse().ok()),
            mean: mean(lines.iter().map(|line| line.sample_measured_value / line.iteration_count))?,
            measured: None,
        })
    }

    /// Parses the texts of `benchmark.json` and `sample.json`.
    pub fn from_json(benchmark: &str, sample: &str) -> Result<Self, String> {
        let named: NamedBenchmark = serde_json::from_str(benchmark).map_err(|error| error.to_string())?;
        let sampled: Sampled = serde_json::from_str(sample).map_err(|error| error.to_string())?;
        let bytes =
            named.throughput.as_ref().and_then(|of| of.get("Bytes")).and_then(serde_json::Value::as_f64);
        Ok(Self {
            group: named.group_id,
            function: named.function_id,
            value: named.value_str,
            bytes,
            mean: mean(sampled.times.iter().zip(&sampled.iters).map(|(time, iterations)| time / iterations))?,
            measured: None,
        })
    }

    /// The path, the cell, the metric and the figure; `None` for a benchmark of anything else.
    fn read(&self) -> Option<(&'static str, MessageSize, usize, RecordMetric, RecordFigure)> {
        let scaled = |scale: f64| {
            let interval = self.mean.interval.map(|(low, high)| (low * scale, high * scale));
            RecordFigure { value: self.mean.value * scale, interval }
        };
        let (path, metric, figure) = copycost::send::ALL.iter().find_map(|path| {
            match self.group.strip_prefix(path.name)? {
                // Bytes per nanosecond are GB/s. The lower end of the time is the upper end of the rate.
                "" => {
                    let bytes = self.bytes?;
                    let interval = self.mean.interval.filter(|(low, _)| *low > 0.0);
                    let interval = interval.map(|(low, high)| (bytes / high, bytes / low));
                    Some((
                        path.name,
                        RecordMetric::Throughput,
                        RecordFigure { value: bytes / self.mean.value, interval },
                    ))
                }
                "-cpu" => Some((path.name, RecordMetric::BothDemand, scaled(1.0))),
                "-latency" => Some((path.name, RecordMetric::LatencyMean, scaled(1e-3))),
                _ => None,
            }
        })?;
        let size = MessageSize::of_id(self.function.as_ref()?)?;
        let clients = self.value.as_ref()?.parse().ok()?;
        figure.value.is_finite().then_some((path, size, clients, metric, figure))
    }
}

/// The set of all benchmarks of copycost.
///
/// # Errors
/// There is no such benchmark, or there are too many cells.
pub fn set(folder: &str, benchmarks: &[Benchmark]) -> Result<RecordSet, String> {
    let mut set = RecordSet { files: vec![folder.to_owned()], ..RecordSet::default() };
    for benchmark in benchmarks {
        let Some((path, size, clients, metric, figure)) = benchmark.read() else { continue };
        let dated = benchmark.measured.clone().map(|dated| (metric, dated));
        let known = |row: &&mut SetRow| (row.path.as_str(), row.size, row.clients) == (path, size, clients);
        match set.rows.iter_mut().find(known) {
            Some(row) => {
                row.figures.insert(metric, figure);
                row.measured.extend(dated);
            }
            None => set.rows.push(SetRow {
                path: path.to_owned(),
                size,
                clients,
                record: None,
                figures: BTreeMap::from([(metric, figure)]),
                measured: dated.into_iter().collect(),
            }),
        }
    }
    few_cells(set.rows.iter().map(|row| (row.size.bytes, row.clients)))?;
    set.rows.sort_by_key(|row| (row.clients, row.size, super::set::place(&row.path)));
    set.commands = vec!["cargo bench".to_owned()];
    if set.rows.is_empty() {
        let groups: Vec<_> = benchmarks.iter().map(|benchmark| benchmark.group.as_str()).take(3).collect();
        return Err(format!("holds no benchmark of copycost, only others such as {}", groups.join(", ")));
    }
    Ok(set)
}

/// Half the width of a 95 % interval in standard errors. From the normal distribution: the benches take 25 samples or
/// more, for which Student's distribution makes the interval only 5 % wider.
const REACH: f64 = 1.96;

fn mean(values: impl Iterator<Item = f64>) -> Result<RecordFigure, String> {
    let values: Vec<f64> = values.collect();
    if values.is_empty() || values.iter().any(|value| !value.is_finite() || *value <= 0.0) {
        return Err("a sample is not a positive number".to_owned());
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return Ok(RecordFigure::plain(mean));
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let reach = REACH * (variance / n).sqrt();
    Ok(RecordFigure { value: mean, interval: Some((mean - reach, mean + reach)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "group,function,value,throughput_num,throughput_type,sample_measured_value,unit,iteration_count\n";

    fn raw(lines: &str) -> Result<Benchmark, String> {
        Benchmark::from_raw(&format!("{HEADER}{lines}"))
    }

    #[test]
    fn both_forms_say_the_same() {
        let csv =
            raw("onecopy,1024,8,8192,bytes,2000.0,ns,2\nonecopy,1024,8,8192,bytes,3300.0,ns,3\n").unwrap();
        let json = Benchmark::from_json(
            r#"{"group_id":"onecopy","function_id":"1024","value_str":"8","throughput":{"Bytes":8192},"full_id":""}"#,
            r#"{"sampling_mode":"Flat","iters":[2.0,3.0],"times":[2000.0,3300.0]}"#,
        )
        .unwrap();
        assert_eq!(csv, json);
        let set = set("target/criterion", &[csv]).unwrap();
        let figure = set.row("onecopy", 1024.into(), 8).unwrap().figure(RecordMetric::Throughput).unwrap();
        // 8192 bytes in 1050 ns.
        assert!((figure.value - 7.802).abs() < 1e-3, "{figure:?}");
        let (low, high) = figure.interval.unwrap();
        assert!(low < figure.value && figure.value < high);
    }

    #[test]
    fn the_three_groups_of_a_path_are_one_row() {
        let lines = [
            "zerocopy,4096,1,4096,bytes,1000,ns,1\n",
            "zerocopy-cpu,4096,1,,,120.5,ns/KiB,1\n",
            "zerocopy-latency,4096,1,,,15000,ns,1\n",
            "zerocopy-call,4096,,,,200,ns,1\n",
            "part,eight iovecs,,,,7,ns,1\n",
        ];
        let benchmarks: Vec<_> = lines.iter().map(|line| raw(line).unwrap()).collect();
        let set = set("x", &benchmarks).unwrap();
        assert_eq!(set.rows.len(), 1);
        let figure = |metric| set.rows[0].figure(metric).map(|figure| figure.value);
        assert_eq!(figure(RecordMetric::Throughput), Some(4.096));
        assert_eq!(figure(RecordMetric::BothDemand), Some(120.5));
        assert_eq!(figure(RecordMetric::LatencyMean), Some(15.0));
        assert_eq!(figure(RecordMetric::SenderDemand), None);
    }

    #[test]
    fn other_projects_and_damaged_files_are_errors() {
        let other = raw("fib,20,,,,12.0,ns,1\n").unwrap();
        assert!(set("x", &[other]).unwrap_err().contains("only others such as fib"));
        for lines in
            ["", "onecopy,1024,8", "onecopy,1024,8,1,bytes,-1,ns,1\n", "onecopy,1024,8,1,bytes,1,ns,0\n"]
        {
            assert!(raw(lines).is_err(), "{lines}");
        }
        assert!(Benchmark::from_json("{}", "{}").is_err());
        assert!(Benchmark::from_json("{", "").is_err());
    }
}
