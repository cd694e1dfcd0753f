//! What a Python program imports that neither the standard library nor its own files have. Read from ruff's syntax tree, within the bounds
//! of the static check.

use crate::distributions::{self, Found};
use crate::name::Name;
use crate::requirement::Requirement;
use crate::{IMPORTS_MAX, MODULE_BYTES_MAX, stdlib};
use check::bound::{self, Unchecked};
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, ExceptHandler, Expr, Stmt};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use std::collections::{BTreeMap, BTreeSet};

/// A module that a program needs from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name, as far as it takes to tell whose it is: `cv2`, `google.cloud.storage`.
    pub module: String,
    /// What to ask for to have it, if there is anything to be named ([`Found::requirement`]).
    pub requirement: Option<Requirement>,
    /// Whether every import of it is tried, so that the program goes on without it.
    pub optional: bool,
}

impl Need {
    /// The distribution that the module is from.
    pub fn distribution(&self) -> Option<&Name> {
        self.requirement.as_ref().map(|requirement| &requirement.name)
    }

    /// The first part of the module's name.
    pub fn root(&self) -> &str {
        self.module.split('.').next().unwrap_or_default()
    }
}

/// Why the imports of a program are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Longer, or nested deeper, than is read.
    #[error("{}", .0.words())]
    Unchecked(Unchecked),
    /// More than [`IMPORTS_MAX`].
    #[error("the program imports more than {IMPORTS_MAX} modules")]
    TooMany,
}

/// The modules that a program imports, sorted, without what Python 3.`minor` has and what is among `files`, the paths that lie beside it.
///
/// Counted are imports at any depth, `importlib.import_module("literal")` and `__import__("literal")`. Not counted are relative ones and
/// those under `if TYPE_CHECKING`. What stands around a mistake of syntax is read as far as the parser gets.
pub fn needs(source: &str, files: &[&str], minor: u8) -> Result<Vec<Need>, Unread> {
    if source.len() > bound::SOURCE_BYTES_MAX {
        return Err(Unread::Unchecked(Unchecked::TooLong));
    }
    if bound::too_deep(source) {
        return Err(Unread::Unchecked(Unchecked::TooDeep));
    }
    let own = own(files);
    let seen = bound::with_stack(source.len(), || read(source, &own, minor)).map_err(Unread::Unchecked)?;
    if seen.len() > IMPORTS_MAX {
        return Err(Unread::TooMany);
    }
    Ok(seen
        .into_iter()
        .map(|(module, (requirement, optional))| Need { module, requirement, optional })
        .collect())
}

/// What can be imported from files beside a program: `helper.py`, and directories with programs in them.
fn own(files: &[&str]) -> BTreeSet<String> {
    let module = |path: &&str| {
        let path = path.trim_start_matches("./");
        let stem = path.strip_suffix(".py")?;
        Some(stem.split('/').next().unwrap_or_default().to_owned())
    };
    files.iter().filter_map(module).collect()
}

/// What to ask for, and whether it is optional, by module.
type Seen = BTreeMap<String, (Option<Requirement>, bool)>;

fn read(source: &str, own: &BTreeSet<String>, minor: u8) -> Seen {
    let parsed = parse_unchecked(source, ParseOptions::from(Mode::Module));
    let mut reader = Reader { own, minor, tried: 0, seen: Seen::new() };
    if let ast::Mod::Module(module) = parsed.syntax() {
        reader.visit_body(&module.body);
    }
    reader.seen
}

struct Reader<'a> {
    own: &'a BTreeSet<String>,
    minor: u8,
    /// How many statements around catch a failed import.
    tried: usize,
    seen: Seen,
}

impl Reader<'_> {
    fn is_present(&self, module: &str) -> bool {
        let root = module.split('.').next().unwrap_or_default();
        self.own.contains(root) || stdlib::has(root, self.minor)
    }

    fn import(&mut self, module: &str) {
        let is_name = !module.is_empty()
            && module.len() <= MODULE_BYTES_MAX
            && module.split('.').all(|part| !part.is_empty());
        if !is_name || self.is_present(module) || self.seen.len() > IMPORTS_MAX {
            return;
        }
        let Found { module, requirement } = distributions::find(module);
        let optional = self.tried > 0;
        let (_, always) = self.seen.entry(module).or_insert((requirement, optional));
        *always &= optional;
    }

    /// `from a import b`: `b` may be a module of its own, which matters where `a` is a namespace.
    fn import_from(&mut self, from: &ast::StmtImportFrom) {
        let Some(module) = from.module.as_ref().filter(|_| from.level == 0) else { return };
        for alias in &from.names {
            match &*alias.name.id {
                "*" => self.import(module.as_str()),
                name => self.import(&format!("{module}.{name}")),
            }
        }
    }

    fn within_try(&mut self, bodies: &[&[Stmt]]) {
        self.tried += 1;
        bodies.iter().for_each(|body| self.visit_body(body));
        self.tried -= 1;
    }

    /// `try: import a` … `except ImportError: import b`: both are optional, and `b` is not needed where `a` is present.
    fn try_import(&mut self, tried: &ast::StmtTry) {
        self.within_try(&[&tried.body]);
        let succeeds = tried.body.iter().all(|statement| self.surely_present(statement));
        if !succeeds || tried.body.is_empty() {
            for ExceptHandler::ExceptHandler(handler) in &tried.handlers {
                self.within_try(&[&handler.body]);
            }
        }
        self.visit_body(&tried.orelse);
        self.visit_body(&tried.finalbody);
    }

    /// What only type checkers read is not imported.
    fn choose(&mut self, chosen: &ast::StmtIf) {
        let mut reached = true;
        let first = std::iter::once((Some(&*chosen.test), &chosen.body));
        let clauses = chosen.elif_else_clauses.iter().map(|clause| (clause.test.as_ref(), &clause.body));
        for (test, body) in first.chain(clauses) {
            let known = test.and_then(type_checking);
            if let Some(test) = test {
                self.visit_expr(test);
            }
            if reached && known != Some(false) {
                self.visit_body(body);
            }
            // After `if not TYPE_CHECKING` nothing else is reached.
            reached &= known != Some(true);
        }
    }

    /// Whether a statement imports nothing but what is there.
    fn surely_present(&self, statement: &Stmt) -> bool {
        match statement {
            Stmt::Import(import) => import.names.iter().all(|alias| self.is_present(&alias.name.id)),
            // That a module is there says nothing of a name in it: `from typing import Self` fails on 3.10.
            _ => false,
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Import(import) => import.names.iter().for_each(|alias| self.import(&alias.name.id)),
            Stmt::ImportFrom(from) => self.import_from(from),
            Stmt::Try(tried) if tried.handlers.iter().any(catches_imports) => self.try_import(tried),
            Stmt::With(with) if with.items.iter().any(suppresses_imports) => self.within_try(&[&with.body]),
            Stmt::If(chosen) => self.choose(chosen),
            statement => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Some(module) = imported_by_call(expression) {
            self.import(module);
        }
        visitor::walk_expr(self, expression);
    }
}

/// Whether a test is known when the program runs: `TYPE_CHECKING` is false then.
fn type_checking(test: &Expr) -> Option<bool> {
    match test {
        Expr::Name(name) => (name.id == "TYPE_CHECKING").then_some(false),
        Expr::Attribute(attribute) => (attribute.attr.id == "TYPE_CHECKING").then_some(false),
        Expr::UnaryOp(not) if not.op == ast::UnaryOp::Not => type_checking(&not.operand).map(|known| !known),
        _ => None,
    }
}

fn catches_imports(handler: &ExceptHandler) -> bool {
    let ExceptHandler::ExceptHandler(handler) = handler;
    handler.type_.as_deref().is_none_or(is_import_error)
}

/// Whether an exception, or one of a tuple of them, is what a failed import raises.
fn is_import_error(exception: &Expr) -> bool {
    match exception {
        Expr::Tuple(all) => all.elts.iter().any(is_import_error),
        Expr::Name(name) => {
            matches!(&*name.id, "ImportError" | "ModuleNotFoundError" | "Exception" | "BaseException")
        }
        _ => false,
    }
}

/// `with contextlib.suppress(ImportError)`.
fn suppresses_imports(item: &ast::WithItem) -> bool {
    let Expr::Call(call) = &item.context_expr else { return false };
    called(&call.func) == Some("suppress") && call.arguments.args.iter().any(is_import_error)
}

/// The last name of what is called.
fn called(function: &Expr) -> Option<&str> {
    match function {
        Expr::Name(name) => Some(&name.id),
        Expr::Attribute(attribute) => Some(&attribute.attr.id),
        _ => None,
    }
}

/// The module of `importlib.import_module("a.b")` and `__import__("a")`; a relative name is none.
fn imported_by_call(expression: &Expr) -> Option<&str> {
    let Expr::Call(call) = expression else { return None };
    let Some(Expr::StringLiteral(literal)) = call.arguments.args.first() else { return None };
    matches!(called(&call.func), Some("import_module" | "__import__")).then(|| literal.value.to_str())
}
