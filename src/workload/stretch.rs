//! What part of a trace a set-up plays, because a turn must end soon and a trace can have millions of messages.

use std::collections::HashMap;

use super::{Order, Workload};

/// The most messages of a stretch, unless more connections have one each.
const MESSAGES: usize = 4096;

/// The most bytes of a stretch, unless a single message is larger.
const BYTES: u64 = 64 << 20;

/// The most connections of a stretch.
const CONNECTIONS: usize = 1024;

impl Workload {
    /// The part that the set-up with this seed plays: the whole mix, or a stretch of the trace, drawn by `seed`. With
    /// connections, it has a part of each of at most 1024 neighbouring ones, at the same place in all of them.
    #[must_use]
    pub fn stretch(&self, seed: u64) -> Self {
        let Order::Trace { messages, connections } = &self.order else { return self.clone() };
        let mut random = fastrand::Rng::with_seed(seed);
        let size = |line: &usize| self.classes[messages[*line] as usize].size as u64;
        let chosen = match connections {
            None => {
                let all: Vec<usize> = (0..messages.len()).collect();
                part(&all, random.f64(), MESSAGES, BYTES, size)
            }
            Some(connections) => {
                let mut lines: Vec<Vec<usize>> = Vec::new();
                let mut numbers = HashMap::new();
                for (line, connection) in connections.iter().enumerate() {
                    let number = *numbers.entry(*connection).or_insert(lines.len());
                    if number == lines.len() {
                        lines.push(Vec::new());
                    }
                    lines[number].push(line);
                }
                let played = lines.len().min(CONNECTIONS);
                let first = random.usize(0..=lines.len() - played);
                let (place, each) = (random.f64(), (MESSAGES / played).max(1));
                let of_each = lines[first..first + played]
                    .iter()
                    .flat_map(|lines| part(lines, place, each, BYTES / played as u64, size));
                let mut chosen: Vec<usize> = of_each.collect();
                chosen.sort_unstable();
                chosen
            }
        };
        self.of_lines(&chosen)
    }

    /// The messages at these places of a trace, with only the classes and connections that they have.
    fn of_lines(&self, lines: &[usize]) -> Self {
        let Order::Trace { messages, connections } = &self.order else { return self.clone() };
        let mut numbers = HashMap::new();
        let mut classes = Vec::new();
        let mut class = |line: &usize| {
            let old = messages[*line];
            *numbers.entry(old).or_insert_with(|| {
                classes.push(self.classes[old as usize]);
                classes.len() as u32 - 1
            })
        };
        let played = lines.iter().map(&mut class).collect();
        let mut names = HashMap::new();
        let connections = connections.as_ref().map(|connections| {
            let mut number = |line: &usize| {
                let next = names.len() as u32;
                *names.entry(connections[*line]).or_insert(next)
            };
            lines.iter().map(&mut number).collect()
        });
        Self { name: self.name.clone(), classes, order: Order::Trace { messages: played, connections } }
    }
}

/// As many of `lines` as the limits allow, one after the other, from about `place` (0 to 1) on.
fn part(
    lines: &[usize],
    place: f64,
    messages: usize,
    bytes: u64,
    size: impl Fn(&usize) -> u64,
) -> Vec<usize> {
    let first = (place * lines.len().saturating_sub(messages) as f64) as usize;
    let mut total = 0;
    let fits = |line: &&usize| {
        let before = total;
        total += size(line);
        before == 0 || total <= bytes
    };
    lines[first.min(lines.len())..].iter().take(messages).take_while(fits).copied().collect()
}
