//! AgentRun's own safety check, for its callers: the verdicts and messages of agentrun 0.2.5 with RestrictedPython 9.0.
//!
//! It refuses much that is ordinary (`import os`, `x[0] += 1`, a leading underscore) and stops no attacker; it is here so that callers
//! of AgentRun see what they saw. First comes a search for modules and functions, breadth first as `ast.walk` goes, then
//! RestrictedPython's rules in the order of the tree. The words of Python's own syntax errors are those of CPython where the mistake is
//! a bracket, a string or the end of a line; other mistakes read `invalid syntax`.

use crate::bound;
use crate::{Lines, Report};
use model::{CheckMode, Finding, Severity};
use ruff_python_ast::token::TokenKind;
use ruff_python_ast::visitor::source_order::{SourceOrderVisitor, TraversalSignal, walk_body};
use ruff_python_ast::{AnyNodeRef, Expr, ExprContext, Mod, Parameters, Stmt, name::Name};
use ruff_python_parser::{Mode, ParseOptions, Parsed, parse_unchecked};
use ruff_text_size::Ranged;

const UNSAFE_MODULES: [&str; 4] = ["os", "sys", "subprocess", "builtins"];
const UNSAFE_FUNCTIONS: [&str; 10] =
    ["exec", "eval", "compile", "open", "input", "__import__", "getattr", "setattr", "delattr", "hasattr"];
const DANGEROUS_BUILTINS: [&str; 7] = ["globals", "locals", "vars", "dir", "eval", "exec", "compile"];
/// Magic methods that a class may define.
const MAGIC: [&str; 8] =
    ["__init__", "__contains__", "__lt__", "__le__", "__eq__", "__ne__", "__gt__", "__ge__"];
const RESERVED: [&str; 4] = ["print", "printed", "builtins", "breakpoint"];
const INSPECTED: [&str; 19] = [
    "tb_frame",
    "tb_next",
    "f_back",
    "f_builtins",
    "f_code",
    "f_generator",
    "f_globals",
    "f_locals",
    "f_trace",
    "co_code",
    "gi_frame",
    "gi_code",
    "gi_yieldfrom",
    "cr_await",
    "cr_frame",
    "cr_code",
    "cr_origin",
    "ag_await",
    "ag_frame",
];
/// The name of all this in findings.
const RULE: &str = "agentrun";

/// What AgentRun says of a program: at most one finding with this verdict, and its message.
pub fn report(source: &str, verdict: CheckMode) -> Report {
    let judged = if source.len() > bound::SOURCE_BYTES_MAX {
        Err(bound::Unchecked::TooLong)
    } else if bound::too_deep(source) {
        Err(bound::Unchecked::TooDeep)
    } else {
        bound::with_stack(source.len(), || judge(source))
    };
    let (at, message) = match judged {
        Ok(None) => return Report::default(),
        Ok(Some(refusal)) => refusal,
        Err(unchecked) => (0, unchecked.words().to_owned()),
    };
    let (line, column) = Lines::new(source).place(at);
    let advice = "AgentRun's rules refuse it; the route can be set to run it all the same".to_owned();
    let finding = Finding {
        rule: RULE.to_owned(),
        severity: Severity::High,
        verdict,
        line,
        column,
        reason: message.clone(),
        advice,
    };
    Report { findings: vec![finding], refused: verdict == CheckMode::Deny, message: Some(message) }
}

/// Why a program is refused, and where.
fn judge(source: &str) -> Option<(usize, String)> {
    let parsed = parse_unchecked(source, ParseOptions::from(Mode::Module));
    if !parsed.errors().is_empty() {
        let (at, what) = syntax_error(source, &parsed);
        let line = Lines::new(source).place(at).0;
        return Some((at, format!("Syntax error: {what} (<unknown>, line {line})")));
    }
    let Mod::Module(module) = parsed.syntax() else { return None };
    let mut search = Search::default();
    walk_body(&mut search, &module.body);
    // The sort is stable: among those of one depth the first in the text comes first.
    search.found.sort_by_key(|(depth, ..)| *depth);
    if let Some((_, at, message)) = search.found.into_iter().next() {
        return Some((at, message));
    }
    let mut restricted = Restricted { source, lines: Lines::new(source), errors: Vec::new(), first: None };
    walk_body(&mut restricted, &module.body);
    let first = restricted.first?;
    let list: Vec<String> = restricted.errors.iter().map(|error| quoted(error)).collect();
    let list =
        if let [one] = list.as_slice() { format!("({one},)") } else { format!("({})", list.join(", ")) };
    Some((first, format!("RestrictedPython detected an unsafe pattern: {list}")))
}

/// A text as Python's `repr` shows it, for texts without backslashes and control characters.
fn quoted(text: &str) -> String {
    if text.contains('\'') && !text.contains('"') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "\\'"))
    }
}

/// The mistake that CPython would name.
fn syntax_error(source: &str, parsed: &Parsed<Mod>) -> (usize, String) {
    let mut open: Vec<(char, usize)> = Vec::new();
    for token in parsed.tokens().iter() {
        let at = token.range().start().to_usize();
        let opens = match token.kind() {
            TokenKind::Lpar => '(',
            TokenKind::Lsqb => '[',
            TokenKind::Lbrace => '{',
            _ => ' ',
        };
        let closes = match token.kind() {
            TokenKind::Rpar => ('(', ')'),
            TokenKind::Rsqb => ('[', ']'),
            TokenKind::Rbrace => ('{', '}'),
            _ => (' ', ' '),
        };
        if opens != ' ' {
            open.push((opens, at));
        } else if closes.0 != ' ' {
            match open.pop() {
                None => return (at, format!("unmatched '{}'", closes.1)),
                Some((bracket, _)) if bracket == closes.0 => {}
                Some((bracket, _)) => {
                    let words = format!(
                        "closing parenthesis '{}' does not match opening parenthesis '{bracket}'",
                        closes.1
                    );
                    return (at, words);
                }
            }
        }
    }
    if let Some((bracket, at)) = open.pop() {
        return (at, format!("'{bracket}' was never closed"));
    }
    let Some(first) = parsed.errors().first() else { return (0, "invalid syntax".to_owned()) };
    let (at, said) = (first.location.start().to_usize(), first.error.to_string());
    let line = Lines::new(source).place(at).0;
    let words = if said.contains("missing closing quote") || said.contains("unterminated string") {
        format!("unterminated string literal (detected at line {line})")
    } else if said.to_ascii_lowercase().contains("expected ':'") {
        "expected ':'".to_owned()
    } else if said.contains("Unexpected indentation") {
        "unexpected indent".to_owned()
    } else {
        "invalid syntax".to_owned()
    };
    (at, words)
}

/// The search for modules and functions.
#[derive(Default)]
struct Search {
    depth: usize,
    found: Vec<(usize, usize, String)>,
}

/// Nodes that CPython's tree does not have.
fn is_extra(node: AnyNodeRef) -> bool {
    matches!(node, AnyNodeRef::Arguments(_) | AnyNodeRef::Decorator(_) | AnyNodeRef::ParameterWithDefault(_))
}

impl<'a> SourceOrderVisitor<'a> for Search {
    fn enter_node(&mut self, node: AnyNodeRef<'a>) -> TraversalSignal {
        self.depth += usize::from(!is_extra(node));
        let at = node.range().start().to_usize();
        let mut say = |message: String| self.found.push((self.depth, at, message));
        let is_unsafe = |module: &str| UNSAFE_MODULES.contains(&module.split('.').next().unwrap_or(module));
        match node {
            AnyNodeRef::StmtImport(import) => {
                for alias in import.names.iter().filter(|alias| is_unsafe(&alias.name)).take(1) {
                    say(format!("Unsafe module import: {}", alias.name));
                }
            }
            AnyNodeRef::StmtImportFrom(import) => {
                let module =
                    import.module.as_ref().map(|module| module.as_str()).filter(|module| is_unsafe(module));
                let name = import.names.iter().map(|alias| alias.name.as_str()).find(|name| is_unsafe(name));
                if let Some(name) = module.or(name) {
                    say(format!("Unsafe module import: {name}"));
                }
            }
            AnyNodeRef::ExprCall(call) => match &*call.func {
                Expr::Name(name) if DANGEROUS_BUILTINS.contains(&name.id.as_str()) => {
                    say(format!("Use of dangerous built-in function: {}", name.id));
                }
                Expr::Name(name) if UNSAFE_FUNCTIONS.contains(&name.id.as_str()) => {
                    say(format!("Unsafe function call: {}", name.id));
                }
                Expr::Attribute(method) if UNSAFE_FUNCTIONS.contains(&method.attr.as_str()) => {
                    say(format!("Unsafe function call: {}", method.attr));
                }
                _ => {}
            },
            _ => {}
        }
        TraversalSignal::Traverse
    }

    fn leave_node(&mut self, node: AnyNodeRef<'a>) {
        self.depth -= usize::from(!is_extra(node));
    }
}

/// RestrictedPython's rules.
struct Restricted<'a> {
    source: &'a str,
    lines: Lines<'a>,
    errors: Vec<String>,
    first: Option<usize>,
}

/// Most errors that are listed.
const ERRORS_MAX: usize = 1000;

impl Restricted<'_> {
    fn say(&mut self, at: usize, what: &str) {
        self.first.get_or_insert(at);
        if self.errors.len() < ERRORS_MAX {
            let line = self.lines.place(at).0;
            self.errors.push(format!("Line {line}: {what}"));
        }
    }

    fn name(&mut self, at: usize, name: &str, is_method: bool) {
        if name.starts_with('_') && name != "_" && !is_method {
            self.say(at, &format!("\"{name}\" is an invalid variable name because it starts with \"_\""));
        } else if name.ends_with("__roles__") {
            self.say(
                at,
                &format!("\"{name}\" is an invalid variable name because it ends with \"__roles__\"."),
            );
        } else if RESERVED.contains(&name) {
            self.say(at, &format!("\"{name}\" is a reserved name."));
        }
    }

    fn parameters(&mut self, at: usize, parameters: &Parameters) {
        let plain =
            parameters.posonlyargs.iter().chain(&parameters.args).map(|one| one.parameter.name.id.clone());
        let rest = parameters.vararg.iter().chain(&parameters.kwarg).map(|one| one.name.id.clone());
        let keyword = parameters.kwonlyargs.iter().map(|one| one.parameter.name.id.clone());
        let names: Vec<Name> = plain.chain(rest).chain(keyword).collect();
        names.iter().for_each(|name| self.name(at, name, false));
    }

    /// Where the word `def` or `class` stands: decorators lie before it.
    fn word_before(&self, name: usize, word: &str) -> usize {
        self.source.get(..name).and_then(|before| before.rfind(word)).unwrap_or(name)
    }

    fn starts_line(&self, at: usize) -> bool {
        at == 0 || self.source.as_bytes().get(at - 1) == Some(&b'\n')
    }
}

impl<'a> SourceOrderVisitor<'a> for Restricted<'a> {
    fn enter_node(&mut self, node: AnyNodeRef<'a>) -> TraversalSignal {
        let at = node.range().start().to_usize();
        let statement = match node {
            AnyNodeRef::StmtAnnAssign(_) => Some("AnnAssign"),
            AnyNodeRef::StmtMatch(_) => Some("Match"),
            AnyNodeRef::StmtNonlocal(_) => Some("Nonlocal"),
            AnyNodeRef::StmtTypeAlias(_) => Some("TypeAlias"),
            AnyNodeRef::ExprAwait(_) => Some("Await"),
            AnyNodeRef::StmtTry(one) if one.is_star => Some("TryStar"),
            AnyNodeRef::StmtFor(one) if one.is_async => Some("AsyncFor"),
            AnyNodeRef::StmtWith(one) if one.is_async => Some("AsyncWith"),
            AnyNodeRef::StmtFunctionDef(one) if one.is_async => Some("AsyncFunctionDef"),
            _ => None,
        };
        if let Some(statement) = statement {
            let at = match node {
                AnyNodeRef::StmtFunctionDef(one) => {
                    self.word_before(one.name.range().start().to_usize(), "async")
                }
                _ => at,
            };
            self.say(at, &format!("{statement} statements are not allowed."));
            return TraversalSignal::Skip;
        }
        match node {
            AnyNodeRef::ExprName(name)
                if name.ctx != ExprContext::Load || !matches!(name.id.as_str(), "print" | "printed") =>
            {
                self.name(at, &name.id, false);
            }
            AnyNodeRef::ExprAttribute(attribute) => {
                let name = attribute.attr.as_str();
                if name.starts_with('_') && name != "_" {
                    self.say(
                        at,
                        &format!("\"{name}\" is an invalid attribute name because it starts with \"_\"."),
                    );
                }
                if name.ends_with("__roles__") {
                    self.say(
                        at,
                        &format!(
                            "\"{name}\" is an invalid attribute name because it ends with \"__roles__\"."
                        ),
                    );
                }
                if INSPECTED.contains(&name) || matches!(name, "ag_code") {
                    let what = format!(
                        "\"{name}\" is a restricted name, that is forbidden to access in RestrictedPython."
                    );
                    self.say(at, &what);
                }
            }
            AnyNodeRef::StmtImport(import) => import.names.iter().for_each(|alias| {
                self.name(at, &alias.name, false);
                alias.asname.iter().for_each(|name| self.name(at, name, false));
            }),
            AnyNodeRef::StmtImportFrom(import) => import.names.iter().for_each(|alias| {
                if alias.name.as_str() == "*" {
                    self.say(at, "\"*\" imports are not allowed.");
                }
                self.name(at, &alias.name, false);
                alias.asname.iter().for_each(|name| self.name(at, name, false));
            }),
            AnyNodeRef::StmtFunctionDef(function) => {
                let at = self.word_before(function.name.range().start().to_usize(), "def");
                let is_method = MAGIC.contains(&function.name.as_str()) && !self.starts_line(at);
                self.name(at, &function.name, is_method);
                self.parameters(at, &function.parameters);
            }
            AnyNodeRef::ExprLambda(lambda) => {
                lambda.parameters.iter().for_each(|parameters| self.parameters(at, parameters));
            }
            AnyNodeRef::StmtClassDef(class) => {
                let at = self.word_before(class.name.range().start().to_usize(), "class");
                self.name(at, &class.name, false);
            }
            AnyNodeRef::Comprehension(one) if one.is_async => {}
            _ => {}
        }
        TraversalSignal::Traverse
    }

    fn leave_node(&mut self, node: AnyNodeRef<'a>) {
        let at = node.range().start().to_usize();
        match node {
            AnyNodeRef::StmtAugAssign(assign) => match &*assign.target {
                Expr::Attribute(_) => self.say(at, "Augmented assignment of attributes is not allowed."),
                Expr::Subscript(_) => {
                    self.say(at, "Augmented assignment of object items and slices is not allowed.");
                }
                _ => {}
            },
            AnyNodeRef::ExceptHandlerExceptHandler(handler) => {
                handler.name.iter().for_each(|name| self.name(at, name, false));
            }
            AnyNodeRef::StmtClassDef(class) => {
                let metaclass = class.arguments.iter().flat_map(|arguments| &arguments.keywords);
                if metaclass
                    .clone()
                    .any(|keyword| keyword.arg.as_ref().is_some_and(|name| name == "metaclass"))
                {
                    let at = self.word_before(class.name.range().start().to_usize(), "class");
                    self.say(at, "The keyword argument \"metaclass\" is not allowed.");
                }
            }
            _ => {}
        }
    }

    fn visit_body(&mut self, body: &'a [Stmt]) {
        walk_body(self, body);
    }
}
