//! Parses a shell program: lines that are written plainly at once, the others by tree-sitter's grammar, line by line as a shell reads
//! them. If any of it has a mistake of syntax the grammar reads the whole, and mends it as it can.

use super::plain;
use super::tree::{Field, Tree};
use crate::bound::Unchecked;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tree_sitter::{Language, ParseOptions, ParseState, Parser, TreeCursor};

/// How long the grammar may take for all lines, and for the whole after that. 1 MB of an ordinary program takes it 0.3 s; a hostile one
/// may take it for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the grammar is asked whether lines are whole, each time with twice as many.
const TRIES_MAX: u32 = 6;

static GRAMMAR: LazyLock<Language> = LazyLock::new(|| tree_sitter_bash::LANGUAGE.into());

thread_local! {
    /// Programs hand a shell many short texts, and a parser takes longer to make than most of them to read.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// The tree of a program, which has no NUL, and whether all of it could be parsed.
pub fn parse(source: &str) -> Result<(Tree, bool), Unchecked> {
    match by_lines(source) {
        Some((tree, _)) => Ok((tree, true)),
        None => by_grammar(source),
    }
}

/// The same by the grammar alone.
pub fn by_grammar(source: &str) -> Result<(Tree, bool), Unchecked> {
    let mut tree = Tree::default();
    let parsed = take(source, 0, Instant::now(), &mut tree)?;
    tree.close("program", 0, source.len(), 0);
    Ok((tree, parsed))
}

/// The tree of a program without a mistake, and how many bytes of it were read plainly.
pub fn by_lines(source: &str) -> Option<(Tree, usize)> {
    let mut tree = Tree::default();
    let mut plain_bytes = 0;
    let (mut at, mut begun, mut left) = (0, None, 4 * source.len() + 1000);
    // What these do to the lines around them, the grammar alone knows.
    if source.starts_with('\u{feff}') || source.contains('\r') || source.contains("$\\\n") {
        return None;
    }
    while at < source.len() {
        // To the grammar such a line may go on with the one before.
        if source[at..].trim_start_matches([' ', '\t']).starts_with('\\') {
            return None;
        }
        let (open, nodes) = (tree.mark(), tree.len());
        at = match plain::read_lines(source, at, &mut tree) {
            Ok(next) => {
                plain_bytes += next - at;
                next
            }
            Err(looked_at) => {
                tree.take_back(open, nodes);
                left = left.checked_sub(looked_at - at)?;
                take_lines(source, at, *begun.get_or_insert_with(Instant::now), &mut left, &mut tree)?
            }
        };
    }
    tree.close("program", 0, source.len(), 0);
    Some((tree, plain_bytes))
}

/// Adds the fewest lines from `at` on that the grammar reads without a mistake. Returns where they end.
fn take_lines(source: &str, at: usize, begun: Instant, left: &mut usize, tree: &mut Tree) -> Option<usize> {
    let mut least = 1;
    for _ in 0..TRIES_MAX {
        let end = end_of_lines(source, at, least)?;
        *left = left.checked_sub(end - at)?;
        let (open, nodes) = (tree.mark(), tree.len());
        if take(source.get(at..end)?, at, begun, tree).ok()? {
            return (!tree.joins_lines(source, nodes)).then_some(end);
        }
        tree.take_back(open, nodes);
        if end == source.len() {
            return None;
        }
        least = 2 * (end - at);
    }
    None
}

/// Where the first line ends, at least so many bytes from `at`, after which a statement may begin that is in no other, as far as its
/// looks go.
fn end_of_lines(source: &str, at: usize, least: usize) -> Option<usize> {
    let mut awaited: VecDeque<(&str, bool)> = VecDeque::new();
    let mut end = at;
    for line in source[at..].split_inclusive('\n') {
        end += line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        match awaited.front() {
            Some((mark, tabs)) => {
                if *mark == (if *tabs { line.trim_start_matches('\t') } else { line }) {
                    awaited.pop_front();
                }
            }
            None => awaited = documents(line)?.into(),
        }
        let may_end = end == source.len() || end - at >= least && may_end(line, &source[end..]);
        if awaited.is_empty() && may_end {
            return Some(end);
        }
    }
    None
}

/// The marks that end the here-documents which begin in a line, and whether tabs may stand before them.
fn documents(line: &str) -> Option<Vec<(&str, bool)>> {
    let mut marks = Vec::new();
    let mut rest = line;
    while let Some((_, behind)) = rest.split_once("<<") {
        if let Some(word) = behind.strip_prefix('<') {
            rest = word;
            continue;
        }
        let tabs = behind.starts_with('-');
        let mark = behind.strip_prefix('-').unwrap_or(behind).trim_start_matches([' ', '\t']);
        let quote = mark.chars().next().filter(|first| matches!(first, '\'' | '"'));
        let mark = quote.map_or(mark, |quote| mark.trim_start_matches(quote));
        let (mark, after) =
            mark.split_at(mark.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(mark.len()));
        let after = match quote {
            Some(quote) => after.strip_prefix(quote)?,
            None => after,
        };
        let ends = after.is_empty() || after.starts_with([' ', '\t', ';', '|', '&', '>', ')']);
        if mark.is_empty() || !ends {
            return None;
        }
        marks.push((mark, tabs));
        rest = after;
    }
    Some(marks)
}

/// Whether the looks of two lines allow that no statement goes on from one to the other.
fn may_end(line: &str, next: &str) -> bool {
    const CLOSES: [&str; 13] =
        ["}", ")", "fi", "done", "esac", "then", "do", "else", "elif", ";;", "|", "&&", "{"];
    let line = line.trim_end();
    !line.ends_with(['\\', '|', '{', '('])
        && !line.ends_with("&&")
        && !next.starts_with([' ', '\t', '\n'])
        && !CLOSES.iter().any(|word| next.starts_with(word))
}

/// Adds what the grammar reads in a part of a program that begins at `offset`. Returns whether it is without a mistake.
fn take(part: &str, offset: usize, begun: Instant, tree: &mut Tree) -> Result<bool, Unchecked> {
    let parsed = PARSER.with_borrow_mut(|parser| {
        if parser.language().is_none() {
            parser.set_language(&GRAMMAR).map_err(|_| Unchecked::GaveUp)?;
        }
        let mut patient = |_: &ParseState| {
            if begun.elapsed() > PATIENCE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let bytes = part.as_bytes();
        let mut text = |at: usize, _| bytes.get(at..).unwrap_or_default();
        let options = ParseOptions::new().progress_callback(&mut patient);
        let parsed = parser.parse_with_options(&mut text, None, Some(options));
        // One that gave up would go on with the old text.
        parsed.ok_or_else(|| {
            parser.reset();
            Unchecked::GaveUp
        })
    })?;
    let mut cursor = parsed.walk();
    if cursor.goto_first_child() {
        copy(&mut cursor, offset, tree);
    }
    Ok(!parsed.root_node().has_error())
}

/// Copies a node, those behind it in the same node, and all in them.
fn copy(cursor: &mut TreeCursor, offset: usize, tree: &mut Tree) {
    let grammar: &'static Language = &GRAMMAR;
    let mut above = Vec::new();
    loop {
        let node = cursor.node();
        let kind = grammar.node_kind_for_id(node.kind_id()).unwrap_or_default();
        let mark = tree.mark();
        if cursor.goto_first_child() {
            above.push((kind, mark));
            continue;
        }
        let mut read = (node, kind, mark);
        loop {
            let (node, kind, mark) = read;
            let (start, end) = (offset + node.start_byte(), offset + node.end_byte());
            let within = above.last().map_or("", |(kind, _)| *kind);
            if node.is_named() {
                tree.close(kind, start, end, mark);
                tree.is(field(within, cursor));
            } else if kind == "&" || matches!(within, "file_redirect" | "command") {
                tree.leaf(kind, start, end);
                tree.is_punctuation();
            }
            if cursor.goto_next_sibling() {
                break;
            }
            let Some((kind, mark)) = above.pop() else { return };
            cursor.goto_parent();
            read = (cursor.node(), kind, mark);
        }
    }
}

/// What a node is to the one it is in, if readers ask that of it.
fn field(within: &str, cursor: &TreeCursor) -> Field {
    let is_asked = matches!(
        within,
        "function_definition"
            | "variable_assignment"
            | "while_statement"
            | "for_statement"
            | "c_style_for_statement"
            | "redirected_statement"
            | "file_redirect"
    );
    match is_asked.then(|| cursor.field_name()).flatten() {
        Some("name") => Field::Name,
        Some("value") => Field::Value,
        Some("variable") => Field::Variable,
        Some("condition") => Field::Condition,
        Some("body") => Field::Body,
        Some("redirect") => Field::Redirect,
        Some("destination") => Field::Destination,
        _ => Field::None,
    }
}
