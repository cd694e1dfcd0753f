//! A syntax tree of a shell program, whoever read it: tree-sitter's kinds and fields, in one piece of memory, without what no reader
//! asks for (most punctuation).

use std::ops::Range;

/// Stands for no node.
const NONE: u32 = u32::MAX;

/// What a node is to its parent, as far as readers ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Nothing that is asked for.
    None,
    /// What a function or a variable is called.
    Name,
    /// What a variable is given, or one that a loop goes through.
    Value,
    /// What takes each value of a loop.
    Variable,
    /// What decides whether a loop goes on.
    Condition,
    /// What is redirected.
    Body,
    /// Where to.
    Redirect,
    /// The file of a redirection.
    Destination,
}

#[derive(Debug, Clone, Copy)]
struct Raw {
    kind: &'static str,
    start: u32,
    end: u32,
    first: u32,
    next: u32,
    field: Field,
    named: bool,
}

/// Nodes, children before their parents; the last one is the root.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Raw>,
    /// Nodes that have no parent yet.
    open: Vec<u32>,
}

impl Tree {
    /// Where the children of a node begin that will be [`Self::close`]d.
    pub fn mark(&self) -> usize {
        self.open.len()
    }

    /// Takes back what was made when there were so many nodes, and so many without a parent.
    pub fn take_back(&mut self, mark: usize, nodes: usize) {
        self.open.truncate(mark);
        self.nodes.truncate(nodes);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Adds a node without children.
    pub fn leaf(&mut self, kind: &'static str, start: usize, end: usize) {
        self.close(kind, start, end, self.open.len());
    }

    /// Makes all that is open since `mark` the children of a new node.
    pub fn close(&mut self, kind: &'static str, start: usize, end: usize, mark: usize) {
        let mut next = NONE;
        for child in self.open.drain(mark..).rev() {
            self.nodes[child as usize].next = next;
            next = child;
        }
        self.open.push(self.nodes.len() as u32);
        let (start, end) = (start as u32, end as u32);
        self.nodes.push(Raw { kind, start, end, first: next, next: NONE, field: Field::None, named: true });
    }

    /// Says what the node is that was last closed.
    pub fn is(&mut self, field: Field) {
        self.at_last(|node| node.field = field);
    }

    /// Says what the first node after `mark` is.
    pub fn first_is(&mut self, mark: usize, field: Field) {
        if let Some(first) = self.open.get(mark) {
            self.nodes[*first as usize].field = field;
        }
    }

    /// Says that the node last closed is punctuation.
    pub fn is_punctuation(&mut self) {
        self.at_last(|node| node.named = false);
    }

    /// Where the first node after `mark` begins.
    pub fn start_of(&self, mark: usize) -> usize {
        self.open.get(mark).map_or(0, |first| self.nodes[*first as usize].start as usize)
    }

    /// Where the node last closed ends.
    pub fn end_of_last(&self) -> usize {
        self.open.last().map_or(0, |last| self.nodes[*last as usize].end as usize)
    }

    /// Says that the node last closed begins earlier.
    pub fn starts_at(&mut self, start: usize) {
        self.at_last(|node| node.start = start as u32);
    }

    /// Whether the node last closed is of this kind.
    pub fn is_last(&self, kind: &str) -> bool {
        self.open.last().is_some_and(|last| self.nodes[*last as usize].kind == kind)
    }

    fn at_last(&mut self, change: impl FnOnce(&mut Raw)) {
        if let Some(last) = self.open.last() {
            change(&mut self.nodes[*last as usize]);
        }
    }
}

/// A node of a [`Tree`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: &'a Tree,
    raw: &'a Raw,
}

impl Tree {
    /// The node that was closed last.
    pub fn root(&self) -> Option<Node<'_>> {
        self.nodes.last().map(|raw| Node { tree: self, raw })
    }

    /// Whether lines were taken for one command that a shell takes for two, in the nodes from this one on: the grammar does it behind three
    /// programs in a pipeline, and behind two assignments.
    pub fn joins_lines(&self, source: &str, from: usize) -> bool {
        let is_joined = |one: Node, other: Node| {
            let gap = source.get(one.end_byte()..other.start_byte()).unwrap_or_default();
            gap.split('\n').rev().skip(1).any(|line| !line.ends_with('\\'))
        };
        let within_a_line =
            |raw: &&Raw| matches!(raw.kind, "command" | "redirected_statement" | "file_redirect");
        let commands = self.nodes.iter().skip(from).filter(within_a_line);
        commands.map(|raw| Node { tree: self, raw }).any(|command| {
            let others = command.children().skip(1);
            command.children().zip(others).any(|(one, other)| is_joined(one, other))
        })
    }

    fn node(&self, index: u32) -> Option<Node<'_>> {
        self.nodes.get(index as usize).map(|raw| Node { tree: self, raw })
    }
}

impl<'a> Node<'a> {
    /// What tree-sitter's grammar calls it.
    pub fn kind(self) -> &'static str {
        self.raw.kind
    }

    /// Whether it is more than punctuation.
    pub fn is_named(self) -> bool {
        self.raw.named
    }

    /// Where it begins in the text.
    pub fn start_byte(self) -> usize {
        self.raw.start as usize
    }

    /// Where it ends in the text.
    pub fn end_byte(self) -> usize {
        self.raw.end as usize
    }

    /// Where it is in the text.
    pub fn byte_range(self) -> Range<usize> {
        self.start_byte()..self.end_byte()
    }

    /// Its first child.
    pub fn first_child(self) -> Option<Self> {
        self.tree.node(self.raw.first)
    }

    /// What follows it in the same node.
    pub fn next_sibling(self) -> Option<Self> {
        self.tree.node(self.raw.next)
    }

    /// Its children, in order.
    pub fn children(self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.first_child(), |child| child.next_sibling())
    }

    /// Those of its children that are more than punctuation.
    pub fn named_children(self) -> impl Iterator<Item = Self> {
        self.children().filter(|child| child.is_named())
    }

    /// Those of its children that are this to it.
    pub fn children_of(self, field: Field) -> impl Iterator<Item = Self> {
        self.children().filter(move |child| child.raw.field == field)
    }

    /// The first of its children that is this to it.
    pub fn child_of(self, field: Field) -> Option<Self> {
        self.children_of(field).next()
    }
}
