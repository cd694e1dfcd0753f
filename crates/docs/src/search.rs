//! Which parts of the documentation are about a question: Okapi BM25 over passages (Robertson and Zaragoza, "The Probabilistic Relevance
//! Framework", 2009). Pure.

use std::collections::HashMap;

/// About how long a passage is, in bytes.
const PASSAGE_BYTES: usize = 1_600;
/// The usual constants: how soon more of a word counts for less, and how much length counts.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// How much a word counts in a heading or a title.
const HEADING_WEIGHT: u32 = 3;
/// Most words of a question that are looked for, and longest word, in bytes.
const QUESTION_WORDS_MAX: usize = 400;
const WORD_BYTES_MAX: usize = 64;

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Which page.
    pub page: usize,
    /// Under which headings, from the highest.
    pub headings: String,
    /// Its Markdown.
    pub text: String,
}

/// Passages by their words.
#[derive(Debug, Default)]
pub struct Index {
    passages: Vec<Passage>,
    lengths: Vec<u32>,
    mean_length: f64,
    /// In which passages a word is, and how often.
    places: HashMap<String, Vec<(u32, u32)>>,
}

impl Index {
    /// An index of pages: their titles and their Markdown.
    #[must_use]
    pub fn of<'a>(pages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut index = Self::default();
        for (page, (title, markdown)) in pages.into_iter().enumerate() {
            for (headings, text) in passages(markdown) {
                index.add(title, Passage { page, headings, text });
            }
        }
        let total: f64 = index.lengths.iter().map(|length| f64::from(*length)).sum();
        index.mean_length = total / (index.lengths.len().max(1)) as f64;
        index
    }

    fn add(&mut self, title: &str, passage: Passage) {
        let Ok(number) = u32::try_from(self.passages.len()) else { return };
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut length = 0_u32;
        for (text, weight) in
            [(title, HEADING_WEIGHT), (&passage.headings, HEADING_WEIGHT), (&passage.text, 1)]
        {
            for word in words(text) {
                *counts.entry(word).or_default() += weight;
                length = length.saturating_add(weight);
            }
        }
        for (word, count) in counts {
            self.places.entry(word).or_default().push((number, count));
        }
        self.lengths.push(length);
        self.passages.push(passage);
    }

    /// Passages about a question, the best first, that have at most so many bytes together; the best is given whatever its length.
    /// Empty if no word of the question is there.
    #[must_use]
    pub fn best(&self, question: &str, bytes_max: usize) -> Vec<&Passage> {
        let mut scores: HashMap<u32, f64> = HashMap::new();
        let mut asked: Vec<String> = words(question).take(QUESTION_WORDS_MAX).collect();
        asked.sort_unstable();
        asked.dedup();
        let count = self.passages.len() as f64;
        for places in asked.iter().filter_map(|word| self.places.get(word)) {
            let having = places.len() as f64;
            let rarity = (1.0 + (count - having + 0.5) / (having + 0.5)).ln();
            for (number, times) in places {
                let (times, length) = (f64::from(*times), f64::from(self.lengths[*number as usize]));
                let against = K1 * (1.0 - B + B * length / self.mean_length);
                *scores.entry(*number).or_default() += rarity * times * (K1 + 1.0) / (times + against);
            }
        }
        let mut ranked: Vec<(u32, f64)> = scores.into_iter().collect();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        let mut bytes = 0;
        let mut best = Vec::new();
        for (number, _) in ranked {
            let passage = &self.passages[number as usize];
            bytes += passage.text.len() + passage.headings.len();
            if bytes > bytes_max && !best.is_empty() {
                break;
            }
            best.push(passage);
        }
        best
    }
}

/// The words of a text in lower case: runs of letters and digits, the parts of a name that is written in one, and single signs of scripts
/// that have no spaces.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|one: char| !one.is_alphanumeric() && one != '_').filter(|run| !run.is_empty()).flat_map(
        |run| {
            let whole = run.to_lowercase();
            let mut parts: Vec<String> = parts(run);
            if parts.len() != 1 || parts[0] != whole {
                parts.push(whole);
            }
            parts.retain(|part| part.len() <= WORD_BYTES_MAX);
            parts
        },
    )
}

/// The parts of a name: `readCsv_fast` is read, csv, fast.
fn parts(run: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for one in run.chars() {
        let is_sign =
            matches!(u32::from(one), 0x3040..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff);
        let begins = is_sign || (one.is_uppercase() && before.is_lowercase()) || one == '_';
        if begins && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(String::new());
        }
        if one != '_'
            && let Some(part) = parts.last_mut()
        {
            part.extend(one.to_lowercase());
        }
        before = one;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The passages of a page: at each heading and where one is long enough, but never within a fence that is not longer than a passage.
fn passages(markdown: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut levels: Vec<(usize, String)> = Vec::new();
    let mut text = String::new();
    let mut fence: Option<&str> = None;
    let mut flush = |levels: &[(usize, String)], text: &mut String| {
        if !text.trim().is_empty() {
            let headings: Vec<&str> = levels.iter().map(|(_, heading)| heading.as_str()).collect();
            found.push((headings.join(" > "), text.trim().to_owned()));
        }
        text.clear();
    };
    for line in markdown.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        let was_code = fence.is_some();
        match fence {
            Some(open) if line == open => fence = None,
            None if ticks.len() >= 3 => fence = Some(ticks),
            _ => {}
        }
        let level = line.len() - line.trim_start_matches('#').len();
        if fence.is_none() && (1..=6).contains(&level) && line[level..].starts_with(' ') {
            flush(&levels, &mut text);
            levels.retain(|(above, _)| *above < level);
            levels.push((level, line[level..].trim().chars().take(120).collect()));
            continue;
        }
        let is_full = text.len() + line.len() > PASSAGE_BYTES;
        let may_break = !was_code || text.len() > 2 * PASSAGE_BYTES;
        if is_full && may_break && !text.is_empty() {
            flush(&levels, &mut text);
        }
        // A line may be a page.
        let mut rest = line;
        while rest.len() > 2 * PASSAGE_BYTES {
            let (part, more) = rest.split_at(rest.floor_char_boundary(PASSAGE_BYTES));
            text.push_str(part);
            flush(&levels, &mut text);
            rest = more;
        }
        text.push_str(rest);
        text.push('\n');
    }
    flush(&levels, &mut text);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_about_it_comes_first() {
        let filler =
            "This page is about nothing of the kind, and says the usual words at length. ".repeat(10);
        let pages = [
            ("Install", format!("# Install\n\n{filler} Use the widget with care.")),
            (
                "Tables",
                format!(
                    "# Tables\n\n{filler}\n\n## Reading\n\nCall `readCsv` with a delimiter.\n\n## Writing\n\nCall `writeCsv`."
                ),
            ),
            ("Widgets", format!("# Widgets\n\nA widget spins. Widgets have a speed.\n\n{filler}")),
        ];
        let index = Index::of(pages.iter().map(|(title, text)| (*title, text.as_str())));
        let best = |question: &str| {
            index.best(question, 400).first().map(|passage| (passage.page, passage.headings.as_str()))
        };
        assert_eq!(best("How fast does a widget spin?"), Some((2, "Widgets")));
        assert_eq!(best("read csv with another DELIMITER"), Some((1, "Tables > Reading")));
        assert_eq!(best("writecsv"), Some((1, "Tables > Writing")));
        assert_eq!(best("quux"), None);
        assert_eq!(best(""), None);
        let few = index.best("widget csv words", 100);
        let all = index.best("widget csv words", 1 << 20);
        assert!(few.len() == 1 && all.len() > 3 && all[0] == few[0], "{} {}", few.len(), all.len());
    }

    #[test]
    fn words_are_found_as_they_are_written_and_by_their_parts() {
        let of = |text: &str| words(text).collect::<Vec<_>>();
        assert_eq!(of("max_iterations"), ["max", "iterations", "max_iterations"]);
        assert_eq!(of("HTTPServer readCSV"), ["httpserver", "read", "csv", "readcsv"]);
        assert_eq!(of("日本 x"), ["日", "本", "日本", "x"]);
        assert_eq!(of("…"), Vec::<String>::new());
    }

    #[test]
    fn long_pages_are_cut_where_it_does_not_hurt() {
        let code = format!("```\n# no heading\n{}```", "line of code\n".repeat(150));
        let page = format!("intro\n\n# A\n{code}\n\n## B\n{}\n# C\nend", "ü".repeat(5_000));
        let found = passages(&page);
        assert_eq!(found[0], (String::new(), "intro".to_owned()));
        assert_eq!(found[1].0, "A");
        assert!(found[1].1.starts_with("```\n# no heading") && found[1].1.ends_with("```"), "{}", found[1].1);
        assert!(found.iter().filter(|(headings, _)| headings == "A > B").count() > 3);
        assert_eq!(found.last().unwrap(), &("C".to_owned(), "end".to_owned()));
        assert!(found.iter().all(|(_, text)| text.len() <= 3 * PASSAGE_BYTES));
    }
}
