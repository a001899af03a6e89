//! The output of every format for fixed records.

use super::fixture::{counted, few, full, loaded, of_hosts};
use super::set::{of_results, side_by_side};
use super::*;

const COLOURED: Screen = Screen { coloured: true, ..Screen::FILE };
use crate::record::Record;

fn narrow(text: &str) {
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

/// The page without the contents of its plots, which have their own test.
fn without_plots(page: &str) -> String {
    let mut parts = page.split("<svg");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += "<svg/>";
        text += part.split_once("</svg>").map_or("", |(_, rest)| rest);
    }
    let style = text.find("<style>").unwrap()..text.find("</style>").unwrap();
    text.replace_range(style, "<style>");
    text.replace("<section", "\n<section")
        .replace("<tr", "\n<tr")
        .replace("<li", "\n<li")
        .replace("<p", "\n<p")
}

/// Text from a file that would be markup without escaping.
const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&`|\u{1b}[31m\n# *x*";

fn hostile() -> Results {
    let mut results = full();
    let c = &mut results.conditions;
    for text in [&mut c.kernel, &mut c.cpu_model, &mut c.congestion_control, &mut c.version] {
        *text = HOSTILE.to_owned();
    }
    c.command = vec![HOSTILE.to_owned()];
    c.flags = vec![HOSTILE.to_owned()];
    results.verdict = vec![HOSTILE.to_owned()];
    for record in &mut results.records {
        let Record { path, layout, transport, placement, limiter, flags, verdict_reason, .. } = record;
        for text in [path, layout, transport, placement, limiter] {
            *text = HOSTILE.to_owned();
        }
        flags.push(HOSTILE.to_owned());
        *verdict_reason = Some(HOSTILE.to_owned());
        record.cpu.scope = HOSTILE.to_owned();
        record.cpu.missing = [("system".to_owned(), HOSTILE.to_owned())].into();
    }
    for comparison in &mut results.comparisons {
        for text in [&mut comparison.path, &mut comparison.reference] {
            *text = HOSTILE.to_owned();
        }
        comparison.word = HOSTILE.into();
        comparison.note = Some(HOSTILE.to_owned());
    }
    results.crossovers[0].path = HOSTILE.to_owned();
    results.load_curves = loaded().load_curves;
    for curve in &mut results.load_curves {
        (curve.arrivals, curve.reference) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        curve.settings = vec![HOSTILE.to_owned()];
        for point in &mut curve.points {
            (point.path, point.state) = (HOSTILE.to_owned(), HOSTILE.into());
            (point.reason, point.flags) = (Some(HOSTILE.to_owned()), vec![HOSTILE.to_owned()]);
            point.latency.iter_mut().for_each(|record| record.missing = Some(HOSTILE.to_owned()));
        }
        for comparison in &mut curve.comparisons {
            (comparison.path, comparison.metric) = (HOSTILE.to_owned(), HOSTILE.into());
        }
    }
    results
}

#[test]
fn table() {
    let text = Format::Table.write(&few());
    narrow(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn wide_tables() {
    let text = wide(&few(), Screen::FILE);
    narrow(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn tables_side_by_side() {
    let sets =
        side_by_side(["before.json", "after.json"].into_iter().flat_map(|file| of_results(file, &full())));
    let text = Format::Table.write_sets(&sets, Screen::FILE);
    narrow(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn long_sentences_are_folded() {
    let mut results = few();
    results.verdict = vec!["a sentence of many words ".repeat(20)];
    results.records[0].flags.push("a flag ".repeat(40));
    results.failures[0].error = "an error ".repeat(40);
    results.conditions.cpu_model = "A CPU with a name ".repeat(10);
    narrow(&Format::Table.write(&results));
}

#[test]
fn colour_is_the_only_thing_that_colour_adds() {
    let sets = side_by_side(of_results("", &few()));
    let (plain, coloured) =
        (Format::Table.write_sets(&sets, Screen::FILE), Format::Table.write_sets(&sets, COLOURED));
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    let mut bare = String::new();
    for part in coloured.split('\u{1b}') {
        bare += part.split_once('m').filter(|(code, _)| code.starts_with('[')).map_or(part, |(_, rest)| rest);
    }
    let trimmed = bare.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
    assert_eq!(trimmed, plain);
}

#[test]
fn csv() {
    insta::assert_snapshot!(Format::Csv.write(&few()));
}

#[test]
fn the_originals_columns_are_totals_of_both_ends() {
    let mut results = few();
    results.records = vec![counted(results.records.remove(0), 512.0, 8.0, 0.5)];
    let text = Format::Csv.write(&results);
    let line = text.lines().nth(1).unwrap();
    // 1.1 GB are 1,074,218.75 KiB; both ends count.
    assert!(
        line.starts_with("onecopy,1024,1,8.8,1.2345,1100000000,17187500,1074219,4404,,onecopy,1024,1,"),
        "{line}"
    );
}

#[test]
fn markdown() {
    insta::assert_snapshot!(Format::Markdown.write(&full()));
}

#[test]
fn html() {
    insta::assert_snapshot!(without_plots(&Format::Html.write(&full())));
}

#[test]
fn html_of_little() {
    insta::assert_snapshot!(without_plots(&Format::Html.write(&few())));
}

#[test]
fn json_has_every_field_and_reads_back() {
    let text = Format::Json.write(&few());
    assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), few());
    insta::assert_snapshot!(text);
}

#[test]
fn what_a_file_says_is_never_markup() {
    let page = Format::Html.write(&hostile());
    for markup in ["<script", "<img", "onerror=alert(1)>", "</script"] {
        assert!(!page.contains(markup), "{markup}");
    }
    let text = Format::Markdown.write(&hostile());
    // Text between fences is code, and each fence is longer than any run of backticks inside.
    let (text, code) = text.split_once("```sh\n").unwrap();
    assert_eq!(code.matches("```").count(), 1, "{code}");
    assert!(!text.contains("<script") && !text.contains("<img") && !text.contains('\u{1b}'), "{text}");
    let widths: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.replace("\\|", "").matches('|').count())
        .collect();
    assert!(
        widths.windows(2).filter(|pair| pair[0] != pair[1]).count() <= 3,
        "four tables, no torn line: {widths:?}"
    );
}

#[test]
fn the_page_asks_for_nothing() {
    for results in [full(), few(), hostile()] {
        // A browser follows a link only when the reader clicks on it.
        let link = format!("href=\"{}/", env!("CARGO_PKG_REPOSITORY"));
        let page = Format::Html.write(&results).replace(&link, "");
        for request in ["src=", "http://", "https://", "@import", "<link rel=\"stylesheet"] {
            assert!(!page.replace("src=x", "").contains(request), "{request}");
        }
        assert!(
            !page.contains("url(") || page.matches("url(").count() == page.matches("url(#hatch)").count()
        );
    }
}

#[test]
fn nonsense_in_a_file_is_written_without_a_panic() {
    let mut results = full();
    for (number, record) in results.records.iter_mut().enumerate() {
        let value = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE][number % 6];
        record.throughput_bytes_per_second = value;
        record.cpu.sender_ns_per_kib = Some(value);
        record.context_switches_per_message = value;
        record.path = "a-path-of-a-later-version-with-a-long-name".repeat(number % 3);
        if number % 4 == 0 {
            (record.size, record.clients) = (usize::MAX.into(), usize::MAX);
        }
        if let Some(ledger) = &mut record.ledger {
            (ledger.sends, ledger.copied, ledger.fallbacks) = (u64::MAX, u64::MAX, u64::MAX);
        }
        record.pollution.as_mut().unwrap().ns_per_access = value;
    }
    for comparison in &mut results.comparisons {
        (comparison.low, comparison.ratio) = (Some(f64::NAN), Some(0.0));
        comparison.word = "nonsense".repeat(50).as_str().into();
    }
    for format in Format::ALL {
        assert!(!format.write(&results).is_empty());
        assert!(!format.write(&Results::new(fixture::conditions())).is_empty() || *format == Format::Table);
    }
}

#[test]
fn loads() {
    let results = loaded();
    let table = Format::Table.write(&results);
    narrow(&table);
    let [csv, markdown, page] =
        [Format::Csv, Format::Markdown, Format::Html].map(|format| format.write(&results));
    insta::assert_snapshot!(format!("{table}\n{csv}\n{markdown}\n{}", without_plots(&page)));
    assert_eq!(page.matches("<svg class=\"plot\"").count(), 4, "two paths, the tail and the CPU time");
    let text = Format::Json.write(&results);
    assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
}

#[test]
fn two_runs_under_the_same_loads_stand_side_by_side() {
    let files = |second: &Results| {
        side_by_side(
            [("a.json", &loaded()), ("b.json", second)]
                .into_iter()
                .flat_map(|(file, run)| of_results(file, run)),
        )
    };
    let sets = files(&loaded());
    assert_eq!(sets.iter().map(|set| set.label.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let mut other = loaded();
    other.load_curves[0].clients = 2;
    assert_eq!(files(&other).iter().map(|set| set.load_curves.len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn loads_fit_every_width_and_any_figures() {
    let mut results = loaded();
    let many = results.load_curves[0].clone();
    results.load_curves.push(crate::record::LoadCurve { client_hosts: 2, ..many });
    let values = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE];
    for nonsense in [false, true] {
        if nonsense {
            let points = results.load_curves.iter_mut().flat_map(|curve| &mut curve.points);
            for (number, point) in points.enumerate() {
                let value = values[number % values.len()];
                (point.load, point.offered_per_second, point.achieved_per_second) =
                    (Some(value), value, value);
                point.latency.iter_mut().for_each(|record| record.ns = Some(u64::MAX));
                point.latency.truncate(number % 5);
            }
            for (number, one) in
                results.load_curves.iter_mut().flat_map(|curve| &mut curve.comparisons).enumerate()
            {
                let value = values[number % values.len()];
                (one.ratio, one.low, one.high, one.load) = (Some(value), Some(value), Some(value), None);
            }
            crate::verdict::conclude(&mut results);
        }
        for columns in [60, 72, 80, 100, 132, 200] {
            let text = terminal::report(&of_results("", &results), Screen { columns, ..Screen::FILE });
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(
                longest <= columns.max(100) && (nonsense || longest <= columns),
                "{longest} of {columns}:\n{text}"
            );
        }
        for format in Format::ALL {
            assert!(!format.write(&results).is_empty());
        }
        assert!(
            results.answer.as_ref().is_some_and(|answer| answer.chars().count() <= crate::verdict::LONGEST)
        );
    }
}

#[test]
fn the_extension_decides() {
    for (name, format) in [
        ("a.json", Format::Json),
        ("b/c.csv", Format::Csv),
        ("d.txt", Format::Table),
        ("e.md", Format::Markdown),
        ("f.html", Format::Html),
    ] {
        assert_eq!(Format::of_file(Path::new(name)), Ok(format));
    }
    for name in ["a", "a.html.bak", ".json", ""] {
        assert!(Format::of_file(Path::new(name)).is_err(), "{name}");
    }
}

#[test]
fn numbers_of_hosts_lie_on_one_line_and_each_has_its_comparisons() {
    let mut results = of_hosts();
    let comparison = full().comparisons.remove(0);
    results.comparisons = vec![crate::record::Comparison { client_hosts: 4, ..comparison }];
    let sets = side_by_side(of_results("a.json", &results));
    let labels: Vec<_> = sets.iter().map(|set| set.label.as_str()).collect();
    assert_eq!(labels, ["mpi with 1 client host", "mpi with 2 client hosts", "mpi with 4 client hosts"]);
    assert_eq!(sets.iter().map(|set| set.comparisons.len()).collect::<Vec<_>>(), [0, 0, 1]);
    let page = Format::Html.write_sets(&sets, Screen::FILE);
    let section = page.split("id=\"hosts\"").nth(1).unwrap().split("</section>").next().unwrap();
    // Throughput and demand, for the one cell.
    assert_eq!(section.matches("<svg").count(), 2, "{section}");
    for part in ["client hosts", "server's CPU time", "Jain's index", "0.80", "onecopy", "zerocopy"] {
        assert!(section.contains(part), "{part} in {section}");
    }
    assert!(page.contains("rank 1, client host node1"));
    let one = Results { records: results.records[..2].to_vec(), comparisons: Vec::new(), ..results.clone() };
    let page = Format::Html.write(&one);
    assert!(page.contains("--client-hosts 1,2,4"), "what is missing says how to get it");
    let csv = Format::Csv.write(&results);
    assert!(csv.lines().next().unwrap().contains(",client_hosts,fairness_jain,fairness_min_over_max,"));
    assert!(csv.lines().last().unwrap().contains(",4,0.8,0.75,"), "{csv}");
    let wide = wide(&results, Screen::FILE);
    narrow(&wide);
    assert!(wide.contains("node4 (rank 4)") && wide.contains("4 hosts: Jain 0.80, least 0.75"), "{wide}");
}
