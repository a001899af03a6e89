//! Links and headings of a page in Markdown.

/// The text without blocks of code and without code in lines: neither holds links.
fn prose(page: &str) -> String {
    let mut in_block = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            // The text between a line's backquotes is every second part.
            line.split('`').step_by(2).for_each(|part| prose += part);
            prose.push('\n');
        }
    }
    prose
}

/// The targets of links, pictures included.
pub fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
pub fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        let heading =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#') && !in_block);
        let Some(heading) = heading else { continue };
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let seen = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if seen == 0 { anchor } else { format!("{anchor}-{seen}") });
    }
    anchors
}

#[test]
fn links_and_anchors_are_found_as_github_has_them() {
    let page = "# A `b`: c, d\n[x](y.md#z) `[no](no)` ![p](q.png)\n```sh\n# [no](no)\n```\n## E\n## E\n";
    assert_eq!(links(page), ["y.md#z", "q.png"]);
    assert_eq!(anchors(page), ["a-b-c-d", "e", "e-1"]);
}
