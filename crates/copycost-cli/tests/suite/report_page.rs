//! The report's page in a real browser: nothing on its console, plots that are not empty, no horizontal scrolling on a
//! phone, text that can be read, in both themes.
//!
//! The page has no script. It is framed in one that has, which measures it and writes what it found into its own
//! document, which Chromium prints.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::common::{LONG, skip};
use crate::results::results;
use serde_json::Value;

/// The browser; `None`, with the reason printed, where there is none.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        skip("no chromium: the report's page is not opened (Debian: apt-get install chromium)");
    }
    found
}

/// Runs the browser without a window and without a network.
fn run(browser: &Path, folder: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments);
    // On a machine under load it has taken more than a minute to start.
    let (done, output) = mpsc::channel();
    thread::Builder::new().spawn(move || done.send(command.output().unwrap())).unwrap();
    output.recv_timeout(5 * LONG).expect("chromium does not end")
}

fn copycost(arguments: &[&str], folder: &Path) {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("copycost"));
    command.current_dir(folder).args(arguments).timeout(Duration::from_secs(60)).assert().success();
}

/// A page of one run, and one of two side by side.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let sizes = [64, 1024, 4096, 16_384, 65_536];
    for (name, kernel) in [("one.json", "6.18.0"), ("a-file-with-a-rather-long-name.json", "6.1.0")] {
        let mut results = results(kernel, &sizes, &[1, 2, 8]);
        if name == "one.json" {
            explained_and_predicted(&mut results);
        }
        fs::write(folder.join(name), results.to_string()).unwrap();
    }
    copycost(&["report", "one.json", "-o", "one.html"], folder);
    copycost(&["report", "one.json", "a-file-with-a-rather-long-name.json", "-o", "two.html"], folder);
    ["one.html", "two.html"].map(|name| folder.join(name)).to_vec()
}

/// Adds what `copycost explain` and `copycost predict` recorded on a machine with two CPUs.
fn explained_and_predicted(results: &mut Value) {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut explained = parse(include_str!("recorded/explained.json"));
    let folded =
        [include_str!("recorded/onecopy-64KiB.folded"), include_str!("recorded/zerocopy-64KiB.folded")];
    for (path, folded) in folded.iter().enumerate() {
        explained["explanations"][0]["paths"][path]["folded"] = folded.lines().collect();
    }
    results["explanations"] = explained["explanations"].take();
    results["models"] = parse(include_str!("recorded/predicted.json"))["models"].take();
}

/// A page that frames each of `pages` at each of `widths`, and measures them when all are laid out.
fn framed(pages: &[String], widths: &[u32]) -> String {
    let frame = |page: &String, width: &u32| {
        let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
        format!(r#"<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escaped}"></iframe>"#)
    };
    let frames: String =
        pages.iter().flat_map(|page| widths.iter().map(move |width| frame(page, width))).collect();
    format!(
        r#"<!DOCTYPE html><meta charset="utf-8">{frames}
<pre id="found"></pre><script>
const measured = d => {{
  const root = d.documentElement;
  d.querySelectorAll('details').forEach(e => e.open = true);
  const plots = [...d.querySelectorAll('svg.plot')].map(svg => {{
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    const texts = [...svg.querySelectorAll('text')].map(t => t.getBBox());
    const outside = texts.filter(b => b.x < -4 || b.x + b.width > view.width + 4 || b.y + b.height > view.height + 4);
    let overlaps = 0;
    texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {{
      const w = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
      const h = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
      if (w > 8 && h > a.height / 3) overlaps += 1;
    }}));
    return {{ title: svg.querySelector('title').textContent, width: box.width, height: box.height,
      shapes: svg.querySelectorAll('polygon,polyline,rect').length, texts: texts.length,
      outside: outside.length, overlaps,
      pixels: Math.min(...[...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect().height)) }};
  }});
  return {{
    scroll: root.scrollWidth, width: root.clientWidth, plots,
    tables: d.querySelectorAll('figure table tbody tr').length, figures: d.querySelectorAll('figure').length,
    ink: d.defaultView.getComputedStyle(d.body).color }};
}};
onload = () => {{
  const documents = [...document.querySelectorAll('iframe')].map(frame => frame.contentDocument);
  document.getElementById('found').textContent = JSON.stringify(documents.map(measured));
}};
</script>"#
    )
}

/// What was found in each page at each width: in the order of [`framed`].
fn measured(browser: &Path, folder: &Path, pages: &[String], widths: &[u32]) -> Vec<Value> {
    let frame = folder.join("frame.html");
    fs::write(&frame, framed(pages, widths)).unwrap();
    let arguments = [
        "--window-size=1400,1000".to_owned(),
        "--virtual-time-budget=5000".to_owned(),
        "--dump-dom".to_owned(),
        format!("file://{}", frame.display()),
    ];
    let output = run(browser, folder, &arguments);
    let console = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaints: Vec<_> = console.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text
        .rsplit("<pre id=\"found\">")
        .next()
        .and_then(|rest| rest.split("</pre>").next())
        .unwrap_or_default();
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: '{found}'\n{console}"))
}

fn check(found: &Value, page: &Path, width: u32) {
    let at = format!("{} at {width} px", page.display());
    assert!(
        found["scroll"].as_u64().unwrap() <= u64::from(width),
        "{at} scrolls sideways: {}",
        found["scroll"]
    );
    let plots = found["plots"].as_array().unwrap();
    assert!(plots.len() >= 10, "{at}: {} plots", plots.len());
    assert!(found["figures"].as_u64() >= Some(5) && found["tables"].as_u64() >= Some(20), "{at}: tables");
    for plot in plots {
        let number = |name: &str| plot[name].as_f64().unwrap();
        assert!(number("width") > 250.0 && number("height") > 40.0, "{at}: small {plot}");
        assert!(number("shapes") >= 1.0 && number("texts") >= 2.0, "{at}: empty {plot}");
        assert!(
            number("outside") == 0.0 && number("overlaps") == 0.0,
            "{at}: text outside or on other text {plot}"
        );
        assert!(number("pixels") >= 11.0, "{at}: text too small to read {plot}");
    }
}

#[test]
fn the_page_is_whole_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = pages(folder.path());
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let widths = [390, 768, 1240];
    let found = measured(&browser, folder.path(), &texts, &widths);
    assert_eq!(found.len(), files.len() * widths.len());
    let cells = files.iter().flat_map(|file| widths.map(|width| (file, width)));
    found.iter().zip(cells).for_each(|(found, (file, width))| check(found, file, width));
}

#[test]
fn both_themes_are_drawn() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = pages(folder.path()).remove(0);
    let mut shots = Vec::new();
    for (theme, setting) in [("light", 1), ("dark", 0)] {
        // Not in the test's folder, which goes: they are there to be looked at.
        let shot = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("copycost-report-{theme}.png"));
        let _ = fs::remove_file(&shot);
        let arguments = [
            "--window-size=1240,2400".to_owned(),
            format!("--blink-settings=preferredColorScheme={setting}"),
            format!("--screenshot={}", shot.display()),
            format!("file://{}", page.display()),
        ];
        run(&browser, folder.path(), &arguments);
        let bytes = fs::read(&shot).unwrap();
        assert!(bytes.len() > 50_000, "{} is an empty page", shot.display());
        eprintln!("to be looked at: {}", shot.display());
        shots.push(bytes);
    }
    assert_ne!(shots[0], shots[1], "the themes look alike");
}
