//! What a shell program does, from its tree. The grammar and this walk use no recursion that the text could drive, and what reads plain
//! lines bounds its own.

mod arguments;
mod fold;
mod parse;
mod plain;
#[cfg(test)]
mod tests;
mod tree;

use crate::bound::Unchecked;
use crate::facts::{Around, Command, Endless, Facts, Redirect, wrappers};
use arguments::Arguments;
use std::collections::{HashMap, HashSet};
use tree::{Field, Node, Tree};

/// How deep words are folded.
const DEPTH: usize = 8;
/// Most words that are kept of one command.
const WORDS_MAX: usize = 64;
/// Most redirections, and programs before it in its pipeline, that are kept of one command.
const NEIGHBOURS_MAX: usize = 8;

/// Reads a program, which has no NUL.
pub fn read(source: &str) -> Result<Facts, Unchecked> {
    let (tree, parsed) = parse::parse(source)?;
    Ok(facts_of(source, &tree, parsed))
}

/// The same by the grammar alone.
#[cfg(test)]
pub fn read_by_grammar(source: &str) -> Result<Facts, Unchecked> {
    let (tree, parsed) = parse::by_grammar(source)?;
    Ok(facts_of(source, &tree, parsed))
}

fn facts_of(source: &str, tree: &Tree, parsed: bool) -> Facts {
    let mut reader = Reader { source, ..Reader::default() };
    reader.facts.parsed = parsed;
    if let Some(root) = tree.root() {
        reader.walk(root);
    }
    reader.arguments.resolve(&mut reader.facts);
    reader.facts
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
        let (mut node, mut above) = (root, Vec::new());
        // Where the last statement at each depth began, for a `&` that follows it.
        let mut starts: Vec<usize> = vec![0];
        loop {
            let depth = starts.len() - 1;
            if node.kind() == "&" {
                self.send_to_background(starts[depth]);
            } else if node.is_named() {
                starts[depth] = node.start_byte();
            }
            self.enter(node);
            if let Some(child) = node.first_child() {
                starts.push(0);
                above.push(node);
                node = child;
                continue;
            }
            self.leave(node);
            loop {
                if let Some(next) = node.next_sibling() {
                    node = next;
                    break;
                }
                let Some(parent) = above.pop() else { return };
                starts.pop();
                node = parent;
                self.leave(node);
            }
        }
    }

    fn enter(&mut self, node: Node<'a>) {
        let at = node.start_byte();
        match node.kind() {
            "command" => self.read_command(node),
            "variable_assignment" => {
                if let (Some(name), Some(value)) = (node.child_of(Field::Name), node.child_of(Field::Value)) {
                    self.assign(name, value, at);
                }
            }
            "pipeline" => {
                let last = node.named_children().last();
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
                for child in node.children_of(Field::Redirect).take(NEIGHBOURS_MAX) {
                    if child.kind() == "heredoc_redirect" {
                        self.read_heredoc(node, child);
                    }
                    if child.kind() != "file_redirect" {
                        continue;
                    }
                    let operator = child.children().find(|part| !part.is_named());
                    let target = child.child_of(Field::Destination).map(|target| self.fold(target, DEPTH));
                    redirects.push(Redirect {
                        operator: operator.map_or("", |operator| self.text(operator)).to_owned(),
                        target: target.unwrap_or_default(),
                    });
                }
                self.redirects.push(redirects);
                if node.child_of(Field::Body).is_none() {
                    let command = Command { at, redirects: self.redirects_at(at), ..Command::default() };
                    self.facts.commands.push(command);
                }
            }
            "heredoc_body" | "raw_string" | "string" => {
                let text = self.text(node).chars().take(4096).collect();
                self.facts.texts.push((text, at));
            }
            "while_statement" => {
                let condition = node.child_of(Field::Condition).map_or("", |test| self.text(test));
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
                self.begin_loop(at, node.child_of(Field::Condition).is_none());
            }
            "function_definition" => {
                let name = node.child_of(Field::Name).map_or("", |name| self.text(name));
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
        for child in node.children().take(WORDS_MAX) {
            match child.kind() {
                "variable_assignment" | "file_redirect" | "herestring_redirect" => {}
                _ => words.extend(self.words_of(child)),
            }
        }
        let decoded = node.named_children().take(4).any(|child| self.is_decoded(child));
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
