//! Command lines in Markdown: those in blocks of shell code, and those in running text that begin with `copycost`.

/// A command line, word by word, and where it is.
#[derive(Debug)]
pub struct Line {
    pub number: usize,
    pub words: Vec<String>,
}

/// Programs that run the command that follows them, which may be `copycost`.
const WRAPPERS: [&str; 4] = ["mpirun", "srun", "sudo", "timeout"];

/// Verbs of `cargo` whose arguments behind `--` are the program's own.
const RUN: [&str; 2] = ["cargo", "run"];

/// Every command line of a page.
pub fn lines(page: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut block = None;
    let mut shell = String::new();
    for (index, text) in page.lines().enumerate() {
        let number = index + 1;
        if let Some(language) = text.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim().to_owned()) };
            continue;
        }
        match block.as_deref() {
            Some("sh" | "bash") => match text.strip_suffix('\\') {
                Some(begun) => shell += begun,
                None => {
                    shell += text;
                    let commands = commands(&std::mem::take(&mut shell));
                    lines.extend(commands.into_iter().map(|words| Line { number, words }));
                }
            },
            Some(_) => {}
            None => lines.extend(inline(text).map(|words| Line { number, words })),
        }
    }
    lines
}

/// Code in running text that is a whole command: it begins with `copycost`, and nothing is left out. A verb alone names
/// the command, and is looked up with `--help`.
fn inline(text: &str) -> impl Iterator<Item = Vec<String>> {
    let code = text.split('`').skip(1).step_by(2);
    let whole = code.filter(|code| code.starts_with("copycost ") && !code.contains('…'));
    whole.flat_map(commands).map(|mut words| {
        if words.len() == 2 {
            words.push("--help".to_owned());
        }
        words
    })
}

/// The commands of a line of shell, word by word: quotes are resolved, comments and redirections left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let end = |word: &mut Option<String>, commands: &mut Vec<Vec<String>>| {
        if let (Some(word), Some(words)) = (word.take(), commands.last_mut()) {
            words.push(word);
        }
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '&' | ';' | '|' | '(' | ')') => {
                end(&mut word, &mut commands);
                commands.push(Vec::new());
            }
            (None, _) if c.is_whitespace() => end(&mut word, &mut commands),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut commands);
    commands.iter_mut().for_each(without_redirections);
    commands.retain(|words| !words.is_empty());
    commands
}

fn without_redirections(words: &mut Vec<String>) {
    while let Some(place) = words.iter().position(|word| word.starts_with(['<', '>'])) {
        // `> file` and `>file`.
        let bare = matches!(words[place].as_str(), "<" | ">" | ">>");
        words.drain(place..(place + 1 + usize::from(bare)).min(words.len()));
    }
}

/// What the command line gives to `copycost`, the program's name first; `None` where it does not run it.
pub fn of_copycost(words: &[String]) -> Option<Vec<String>> {
    let is_copycost = |word: &String| word == "copycost" || word.ends_with("/copycost");
    if words.len() >= RUN.len() && words.iter().zip(RUN).all(|(word, verb)| word == verb) {
        if words.iter().any(|word| word == "--example") {
            return None;
        }
        let own = words.iter().position(|word| word == "--").map_or(words.len(), |dashes| dashes + 1);
        return Some(["copycost".to_owned()].into_iter().chain(words[own..].iter().cloned()).collect());
    }
    let wrapped = words.first().is_some_and(|first| WRAPPERS.contains(&first.as_str()));
    let place = words.iter().position(is_copycost)?;
    (place == 0 || wrapped).then(|| words[place..].to_vec())
}

/// Targets that a command line of cargo names: `--bench NAME`, `--example NAME`, `--test NAME`.
pub fn targets_of_cargo(words: &[String]) -> impl Iterator<Item = &str> {
    let cargo = words.iter().any(|word| word == "cargo");
    let flags = words.iter().take_while(|word| *word != "--");
    let named = flags
        .zip(words.iter().skip(1))
        .filter(|(flag, _)| matches!(flag.as_str(), "--bench" | "--example" | "--test"));
    named.filter(move |_| cargo).map(|(_, name)| name.as_str())
}

#[test]
fn command_lines_are_found_as_a_shell_finds_them() {
    let page = "Run `copycost list`, not `copycost run …`.\n\n```sh\ncargo run --release -- run -s 1KiB  # a comment\n\
                timeout 10 copycost client h:1 \\\n    3 >log && cp target/release/copycost /tmp/old\n```\n\
                ```text\ncopycost nothing\n```\n";
    let found: Vec<_> = lines(page).iter().filter_map(|line| of_copycost(&line.words)).collect();
    assert_eq!(
        found,
        [
            vec!["copycost", "list", "--help"],
            vec!["copycost", "run", "-s", "1KiB"],
            vec!["copycost", "client", "h:1", "3"],
        ]
    );
    assert_eq!(commands("a 'b c' \"d\"e; f"), [vec!["a", "b c", "de"], vec!["f"]]);
    let cargo = &commands("cargo bench --bench paths -- --test x")[0];
    assert_eq!(targets_of_cargo(cargo).collect::<Vec<_>>(), ["paths"]);
}
