//! What a shell program does, from tree-sitter's tree. The parser and this walk use no recursion that the text could drive.

mod arguments;
mod fold;

use crate::bound::Unchecked;
use crate::facts::{Around, Command, Endless, Facts, Redirect, wrappers};
use arguments::Arguments;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

/// How long the parser may take. 1 MB of an ordinary program takes 0.3 s; a hostile one may take for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// How deep words are folded.
const DEPTH: usize = 8;
/// Most words that are kept of one command.
const WORDS_MAX: usize = 64;
/// Most redirections, and programs before it in its pipeline, that are kept of one command.
const NEIGHBOURS_MAX: usize = 8;

/// Reads a program, which has no NUL.
pub fn read(source: &str) -> Result<Facts, Unchecked> {
    let tree = PARSER.with_borrow_mut(|parser| parse(parser, source))?;
    let mut reader = Reader { source, ..Reader::default() };
    reader.facts.parsed = !tree.root_node().has_error();
    reader.walk(tree.root_node());
    reader.arguments.resolve(&mut reader.facts);
    Ok(reader.facts)
}

thread_local! {
    /// Programs hand a shell many short texts, and a parser takes longer to make than most of them to read.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

fn parse(parser: &mut Parser, source: &str) -> Result<Tree, Unchecked> {
    if parser.language().is_none() {
        parser.set_language(&tree_sitter_bash::LANGUAGE.into()).map_err(|_| Unchecked::GaveUp)?;
    }
    let begun = Instant::now();
    let mut patient = |_: &ParseState| {
        if begun.elapsed() > PATIENCE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = source.as_bytes();
    let mut text = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let options = ParseOptions::new().progress_callback(&mut patient);
    let tree = parser.parse_with_options(&mut text, None, Some(options));
    // One that gave up would go on with the old text.
    tree.ok_or_else(|| {
        parser.reset();
        Unchecked::GaveUp
    })
}

#[derive(Default)]
struct Reader<'a> {
    source: &'a str,
    facts: Facts,
    variables: HashMap<String, String>,
    /// Variables that hold what an encoding was undone of.
    decoded: HashSet<String>,
    /// What functions are given.
    arguments: Arguments,
    /// Loops around.
    loops: Vec<Loop>,
    /// Functions around, and whether they made a choice so far.
    functions: Vec<(String, bool)>,
    /// Pipelines around.
    pipelines: Vec<Pipeline>,
    /// Commands around, whose substitutions are read.
    commands: Vec<usize>,
    /// Redirections of what is around.
    redirects: Vec<Vec<Redirect>>,
}

struct Loop {
    at: usize,
    endless: bool,
    left: bool,
    /// Commands that were read before it.
    first: usize,
}

struct Pipeline {
    /// The programs so far.
    programs: Vec<String>,
    /// Where its last command begins: only that one writes where the whole is redirected to.
    last: usize,
    /// Redirections around the whole.
    redirects: usize,
}

impl<'a> Reader<'a> {
    fn walk(&mut self, root: Node<'a>) {
        let mut cursor = root.walk();
        // Where the last statement at each depth began, for a `&` that follows it.
        let mut starts: Vec<usize> = vec![0];
        loop {
            let node = cursor.node();
            let depth = starts.len() - 1;
            if node.kind() == "&" {
                self.send_to_background(starts[depth]);
            } else if node.is_named() {
                starts[depth] = node.start_byte();
            }
            self.enter(node);
            if cursor.goto_first_child() {
                starts.push(0);
                continue;
            }
            self.leave(node);
            loop {
                if cursor.goto_next_sibling() {
                    break;
                }
                if !cursor.goto_parent() {
                    return;
                }
                starts.pop();
                self.leave(cursor.node());
            }
        }
    }

    fn enter(&mut self, node: Node<'a>) {
        let at = node.start_byte();
        match node.kind() {
            "command" => self.read_command(node),
            "variable_assignment" => {
                if let (Some(name), Some(value)) =
                    (node.child_by_field_name("name"), node.child_by_field_name("value"))
                {
                    self.assign(name, value, at);
                }
            }
            "pipeline" => {
                let last =
                    node.named_child_count().checked_sub(1).and_then(|last| node.named_child(last as u32));
                self.pipelines.push(Pipeline {
                    programs: Vec::new(),
                    last: last.map_or(at, |last| last.start_byte()),
                    redirects: self.redirects.len(),
                });
            }
            "list" | "if_statement" | "case_statement" | "ternary_expression" => {
                if let Some((_, chosen)) = self.functions.last_mut() {
                    *chosen = true;
                }
            }
            "redirected_statement" => {
                let mut redirects = Vec::new();
                let mut cursor = node.walk();
                for child in node.children_by_field_name("redirect", &mut cursor).take(NEIGHBOURS_MAX) {
                    if child.kind() == "heredoc_redirect" {
                        self.read_heredoc(node, child);
                    }
                    if child.kind() != "file_redirect" {
                        continue;
                    }
                    let operator = child.children(&mut child.walk()).find(|part| !part.is_named());
                    let target =
                        child.child_by_field_name("destination").map(|target| self.fold(target, DEPTH));
                    redirects.push(Redirect {
                        operator: operator.map_or("", |operator| self.text(operator)).to_owned(),
                        target: target.unwrap_or_default(),
                    });
                }
                self.redirects.push(redirects);
                if node.child_by_field_name("body").is_none() {
                    let command = Command { at, redirects: self.redirects_at(at), ..Command::default() };
                    self.facts.commands.push(command);
                }
            }
            "heredoc_body" | "raw_string" | "string" => {
                let text = self.text(node).chars().take(4096).collect();
                self.facts.texts.push((text, at));
            }
            "while_statement" => {
                let condition = node.child_by_field_name("condition").map_or("", |test| self.text(test));
                let condition = condition.trim().trim_end_matches(';').trim();
                let until = self.text(node).starts_with("until");
                let always = matches!(
                    condition,
                    "true"
                        | ":"
                        | "[ 1 ]"
                        | "[[ 1 ]]"
                        | "((1))"
                        | "(( 1 ))"
                        | "[ true ]"
                        | "[[ true ]]"
                        | "/bin/true"
                );
                let never = matches!(condition, "false" | "[ ]" | "((0))");
                self.begin_loop(at, if until { never } else { always });
            }
            "for_statement" => {
                self.bind_each(node);
                self.begin_loop(at, false);
            }
            "c_style_for_statement" => {
                self.begin_loop(at, node.child_by_field_name("condition").is_none());
            }
            "function_definition" => {
                let name = node.child_by_field_name("name").map_or("", |name| self.text(name));
                self.arguments.declare(name);
                self.functions.push((name.to_owned(), false));
            }
            _ => {}
        }
    }

    fn leave(&mut self, node: Node<'a>) {
        match node.kind() {
            "command" => {
                self.commands.pop();
            }
            "pipeline" => {
                self.pipelines.pop();
            }
            "redirected_statement" => {
                self.redirects.pop();
            }
            "function_definition" => {
                self.functions.pop();
            }
            "while_statement" | "for_statement" | "c_style_for_statement" => {
                self.end_loop();
            }
            _ => {}
        }
    }

    fn begin_loop(&mut self, at: usize, endless: bool) {
        self.loops.push(Loop { at, endless, left: false, first: self.facts.commands.len() });
    }

    fn end_loop(&mut self) {
        let Some(ended) = self.loops.pop().filter(|ended| ended.endless) else { return };
        if !ended.left {
            self.facts.endless.push(Endless { at: ended.at });
        }
        // One that waits in each round starts no faster than that.
        let inside = &mut self.facts.commands[ended.first..];
        let waits = |command: &Command| {
            !command.background && matches!(command.program(), "wait" | "sleep" | "read" | "inotifywait")
        };
        if !inside.iter().any(waits) {
            inside.iter_mut().for_each(|command| command.around = Around::Endless);
        }
    }

    /// Redirections of a command that begins there: what a pipeline is redirected to, only its last command writes.
    fn redirects_at(&self, at: usize) -> Vec<Redirect> {
        let outer =
            self.pipelines.iter().filter(|pipeline| at < pipeline.last).map(|pipeline| pipeline.redirects);
        let from = outer.max().unwrap_or_default();
        self.redirects[from..].iter().rev().take(4).flatten().take(NEIGHBOURS_MAX).cloned().collect()
    }

    fn read_command(&mut self, node: Node<'a>) {
        let mut words = Vec::new();
        let mut cursor = node.walk();
        for child in node.children(&mut cursor).take(WORDS_MAX) {
            match child.kind() {
                "variable_assignment" | "file_redirect" | "herestring_redirect" => {}
                _ => words.extend(self.words_of(child)),
            }
        }
        let decoded = node.named_children(&mut cursor).take(4).any(|child| self.is_decoded(child));
        let (function, chosen) = self.functions.last().cloned().unzip();
        let mut fed_by = self.pipelines.last().map(|pipeline| pipeline.programs.clone()).unwrap_or_default();
        if decoded && wrappers(&words) == 0 && words.first().is_some_and(|word| executes(word)) {
            fed_by.push("base64".to_owned());
        }
        let command = Command {
            wrappers: wrappers(&words),
            words,
            redirects: self.redirects_at(node.start_byte()),
            at: node.start_byte(),
            fed_by,
            around: if self.loops.is_empty() { Around::Nothing } else { Around::Loop },
            background: false,
            function,
            chosen: chosen.unwrap_or_default(),
        };
        let program = command.program().to_owned();
        if matches!(
            program.as_str(),
            "break" | "exit" | "return" | "sleep" | "read" | "wait" | "inotifywait" | "kill"
        ) {
            self.loops.iter_mut().for_each(|around| around.left = true);
        }
        // What a substitution prints, the command around it takes.
        for outer in self.commands.iter().rev().take(4) {
            if let Some(outer) = self.facts.commands.get_mut(*outer)
                && outer.fed_by.len() < NEIGHBOURS_MAX
            {
                outer.fed_by.push(program.clone());
            }
        }
        if let Some(pipeline) = self.pipelines.last_mut()
            && pipeline.programs.len() < NEIGHBOURS_MAX
        {
            pipeline.programs.push(program);
        }
        self.commands.push(self.facts.commands.len());
        self.facts.commands.push(command);
    }

    fn send_to_background(&mut self, from: usize) {
        for command in self.facts.commands.iter_mut().rev().take_while(|command| command.at >= from) {
            if command.background {
                break;
            }
            command.background = true;
        }
    }

    fn text(&self, node: Node) -> &'a str {
        self.source.get(node.byte_range()).unwrap_or_default()
    }
}

/// Whether a program executes the text that it is given.
fn executes(program: &str) -> bool {
    matches!(
        program,
        "eval" | "sh" | "bash" | "zsh" | "dash" | "ksh" | "python" | "python3" | "perl" | "node"
    )
}
