//! What a JavaScript or TypeScript program imports that neither Node nor its own files have. Read from oxc's syntax tree, within the
//! bounds of the static check.

use crate::IMPORTS_MAX;
use crate::npm;
pub use crate::python::Unread;
use check::bound::{self, Unchecked};
use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, CallExpression, ExportAllDeclaration, ExportFromDeclaration, Expression, ImportDeclaration,
    ImportDeclarationSpecifier, ImportExpression, ImportOrExportKind, TSExternalModuleReference,
    TryStatement,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::SourceType;
use std::collections::BTreeMap;

/// A package that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name, with its scope.
    pub package: String,
    /// Whether every import of it is tried, so that the program goes on without it.
    pub optional: bool,
}

/// Modules that come with Node: `module.builtinModules` of Node 20.20.2. `node:test` and some others need their prefix, so `test` is a package; so is
/// `process/browser`, of the package `process`.
const BUILTINS: [&str; 54] = [
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "sys",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
    "assert/strict",
    "dns/promises",
    "fs/promises",
    "inspector/promises",
    "path/posix",
    "path/win32",
    "readline/promises",
    "stream/consumers",
    "stream/promises",
    "stream/web",
    "timers/promises",
    "util/types",
];

/// The packages that a program imports, sorted; as TypeScript if `types`.
///
/// Counted are `import`, `export … from`, `import("literal")`, `require("literal")` at any depth. Not counted are paths, URLs, `#internal` names,
/// Node's own modules, and imports of types only. What stands around a mistake of syntax is read as far as the parser gets.
pub fn needs(source: &str, types: bool) -> Result<Vec<Need>, Unread> {
    if source.len() > bound::SOURCE_BYTES_MAX {
        return Err(Unread::Unchecked(Unchecked::TooLong));
    }
    if bound::too_deep(source) {
        return Err(Unread::Unchecked(Unchecked::TooDeep));
    }
    let seen = bound::with_stack(source.len(), || read(source, types)).map_err(Unread::Unchecked)?;
    if seen.len() > IMPORTS_MAX {
        return Err(Unread::TooMany);
    }
    Ok(seen.into_iter().map(|(package, optional)| Need { package, optional }).collect())
}

/// The package of what stands behind `from`: `@scope/name` of `@scope/name/sub`. None for what is no package of npm.
pub fn package(specifier: &str) -> Option<&str> {
    let slashes = usize::from(specifier.starts_with('@'));
    let end = specifier.match_indices('/').nth(slashes).map_or(specifier.len(), |(at, _)| at);
    let name = &specifier[..end];
    let is_builtin = BUILTINS.contains(&specifier);
    (npm::is_name(name) && !is_builtin).then_some(name)
}

fn read(source: &str, types: bool) -> BTreeMap<String, bool> {
    let allocator = Allocator::default();
    // As in the static check: a module first; what is one only to older programs as a script.
    let kinds =
        if types { [SourceType::ts(), SourceType::tsx()] } else { [SourceType::mjs(), SourceType::cjs()] };
    let mut parsed = Parser::new(&allocator, source, kinds[0]).parse();
    if !parsed.diagnostics.is_empty() {
        let again = Parser::new(&allocator, source, kinds[1]).parse();
        if again.diagnostics.is_empty() || parsed.panicked {
            parsed = again;
        }
    }
    let mut reader = Reader { tried: 0, seen: BTreeMap::new() };
    reader.visit_program(&parsed.program);
    reader.seen
}

struct Reader {
    /// How many `try` with a `catch` are around.
    tried: usize,
    seen: BTreeMap<String, bool>,
}

impl Reader {
    fn import(&mut self, specifier: &str) {
        let Some(package) = package(specifier) else { return };
        if self.seen.len() <= IMPORTS_MAX {
            let optional = self.tried > 0;
            *self.seen.entry(package.to_owned()).or_insert(optional) &= optional;
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_import_declaration(&mut self, import: &ImportDeclaration<'a>) {
        let only_types = import.specifiers.as_ref().is_some_and(|specifiers| {
            let is_type = |specifier: &ImportDeclarationSpecifier| match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one) => {
                    one.import_kind == ImportOrExportKind::Type
                }
                _ => false,
            };
            !specifiers.is_empty() && specifiers.iter().all(is_type)
        });
        if import.import_kind == ImportOrExportKind::Value && !only_types {
            self.import(&import.source.value);
        }
    }

    fn visit_export_from_declaration(&mut self, export: &ExportFromDeclaration<'a>) {
        if export.export_kind == ImportOrExportKind::Value {
            self.import(&export.source.value);
        }
    }

    fn visit_export_all_declaration(&mut self, export: &ExportAllDeclaration<'a>) {
        if export.export_kind == ImportOrExportKind::Value {
            self.import(&export.source.value);
        }
    }

    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Some(specifier) = literal(&import.source) {
            self.import(specifier);
        }
        walk::walk_import_expression(self, import);
    }

    fn visit_ts_external_module_reference(&mut self, reference: &TSExternalModuleReference<'a>) {
        self.import(&reference.expression.value);
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        let is_require = match &call.callee {
            Expression::Identifier(name) => name.name == "require",
            _ => false,
        };
        if is_require
            && let Some(specifier) =
                call.arguments.first().and_then(Argument::as_expression).and_then(literal)
        {
            self.import(specifier);
        }
        walk::walk_call_expression(self, call);
    }

    fn visit_try_statement(&mut self, tried: &TryStatement<'a>) {
        let caught = usize::from(tried.handler.is_some());
        self.tried += caught;
        self.visit_block_statement(&tried.block);
        if let Some(handler) = &tried.handler {
            self.visit_catch_clause(handler);
        }
        self.tried -= caught;
        if let Some(last) = &tried.finalizer {
            self.visit_block_statement(last);
        }
    }
}

/// The text of a literal, or of a template without expressions.
fn literal<'b>(expression: &'b Expression) -> Option<&'b str> {
    match expression {
        Expression::StringLiteral(literal) => Some(&literal.value),
        Expression::TemplateLiteral(template) if template.expressions.is_empty() => {
            template.quasis.first().map(|quasi| quasi.value.raw.as_str())
        }
        _ => None,
    }
}
