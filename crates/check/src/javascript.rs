//! What a JavaScript or TypeScript program does, from oxc's syntax tree. Runs on the stack of [`crate::bound::with_stack`].

use crate::facts::{Around, Call, Endless, FOLD_DEPTH, Facts, Names, Value, leaves};
use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, ArrowFunctionExpression, BindingPattern, CallExpression, Expression, ForStatement, Function,
    ImportDeclaration, ImportDeclarationSpecifier, NewExpression, ObjectPropertyKind, Program, PropertyKey,
    Statement, StringLiteral, TemplateLiteral, VariableDeclarator, WhileStatement,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};

/// Reads a program, as TypeScript if `types`.
pub fn read(source: &str, types: bool) -> Facts {
    let allocator = Allocator::default();
    // A module first; what is one only to older programs (`with`, octal numbers) as a script.
    let kinds =
        if types { [SourceType::ts(), SourceType::tsx()] } else { [SourceType::mjs(), SourceType::cjs()] };
    let mut parsed = Parser::new(&allocator, source, kinds[0]).parse();
    if !parsed.diagnostics.is_empty() {
        let again = Parser::new(&allocator, source, kinds[1]).parse();
        if again.diagnostics.is_empty() || parsed.panicked {
            parsed = again;
        }
    }
    let mut reader = Reader::default();
    reader.facts.parsed = parsed.diagnostics.is_empty();
    reader.visit_program(&parsed.program);
    reader.facts
}

#[derive(Debug)]
enum Frame {
    Loop { at: usize, endless: bool, left: bool },
    Function { name: String, asked: bool },
}

#[derive(Default)]
struct Reader {
    facts: Facts,
    names: Names,
    frames: Vec<Frame>,
    /// What the next function is called, when it is assigned to a name.
    naming: Option<String>,
}

fn start(span: Span) -> usize {
    span.start as usize
}

fn module(name: &str) -> &str {
    let name = name.strip_prefix("node:").unwrap_or(name);
    match name {
        "fs/promises" | "fs-extra" => "fs",
        name => name,
    }
}

fn key(key: &PropertyKey) -> String {
    match key {
        PropertyKey::StaticIdentifier(name) => name.name.to_string(),
        PropertyKey::StringLiteral(literal) => literal.value.to_string(),
        _ => String::new(),
    }
}

impl Reader {
    fn around(&self) -> Around {
        let loops = self.frames.iter().rev().map_while(|frame| match frame {
            Frame::Loop { endless, .. } => Some(if *endless { Around::Endless } else { Around::Loop }),
            Frame::Function { .. } => None,
        });
        loops.max().unwrap_or_default()
    }

    fn leave(&mut self, all: bool) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Loop { left, .. } => {
                    *left = true;
                    if !all {
                        return;
                    }
                }
                Frame::Function { .. } => return,
            }
        }
    }

    fn ask(&mut self) {
        for frame in self.frames.iter_mut().rev() {
            if let Frame::Function { asked, .. } = frame {
                *asked = true;
                return;
            }
        }
    }

    fn end_loop(&mut self) {
        if let Some(Frame::Loop { at, endless: true, left: false }) = self.frames.pop() {
            self.facts.endless.push(Endless { at });
        }
    }

    fn dotted(&self, expression: &Expression, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        match expression {
            Expression::Identifier(name) => Some(self.names.resolve(&name.name).to_owned()),
            Expression::StaticMemberExpression(member) => {
                let object = self.dotted(&member.object, depth).unwrap_or_else(|| "?".to_owned());
                let object = match object.as_str() {
                    "globalThis" | "global" | "window" => return Some(member.property.name.to_string()),
                    "fs.promises" | "fs.default" => "fs",
                    other => other,
                };
                Some(format!("{object}.{}", member.property.name))
            }
            Expression::ComputedMemberExpression(member) => {
                let object = self.dotted(&member.object, depth).unwrap_or_else(|| "?".to_owned());
                let name = self.fold(&member.expression, depth).text;
                match object.as_str() {
                    "globalThis" | "global" | "window" => Some(name),
                    _ => Some(format!("{object}.{name}")),
                }
            }
            Expression::CallExpression(call) => match self.dotted(&call.callee, depth)?.as_str() {
                "require" | "process.mainModule.require" | "module.require" => {
                    let name = self.fold(call.arguments.first()?.as_expression()?, depth).text;
                    Some(module(&name).to_owned())
                }
                "util.promisify" => self.dotted(call.arguments.first()?.as_expression()?, depth),
                name => Some(format!("{name}()")),
            },
            Expression::ImportExpression(import) => {
                Some(module(&self.fold(&import.source, depth).text).to_owned())
            }
            Expression::NewExpression(new) => Some(format!("{}()", self.dotted(&new.callee, depth)?)),
            Expression::AwaitExpression(waits) => self.dotted(&waits.argument, depth),
            Expression::ParenthesizedExpression(inner) => self.dotted(&inner.expression, depth),
            Expression::SequenceExpression(inner) => self.dotted(inner.expressions.last()?, depth),
            Expression::TSAsExpression(inner) => self.dotted(&inner.expression, depth),
            Expression::ThisExpression(_) => Some("this".to_owned()),
            Expression::StringLiteral(_)
            | Expression::ArrayExpression(_)
            | Expression::FunctionExpression(_) => Some("?".to_owned()),
            Expression::ChainExpression(chain) => match &chain.expression {
                oxc_ast::ast::ChainElement::CallExpression(call) => {
                    Some(format!("{}()", self.dotted(&call.callee, depth)?))
                }
                oxc_ast::ast::ChainElement::StaticMemberExpression(member) => {
                    Some(format!("{}.{}", self.dotted(&member.object, depth)?, member.property.name))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn fold(&self, expression: &Expression, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else { return Value::unknown() };
        match expression {
            Expression::StringLiteral(literal) => Value::text(literal.value.as_str()),
            Expression::NumericLiteral(literal) => {
                Value { number: Some(literal.value), ..Value::text(literal.value.to_string()) }
            }
            Expression::TemplateLiteral(template) => self.fold_template(template, depth),
            Expression::Identifier(name) => self.names.value(&name.name),
            Expression::BinaryExpression(operation) => {
                let (left, right) = (self.fold(&operation.left, depth), self.fold(&operation.right, depth));
                let number =
                    left.number.zip(right.number).and_then(|(a, b)| match operation.operator.as_str() {
                        "+" => Some(a + b),
                        "-" => Some(a - b),
                        "*" => Some(a * b),
                        "**" => Some(a.powf(b)),
                        _ => None,
                    });
                match number {
                    Some(number) => Value { number: Some(number), ..Value::text(number.to_string()) },
                    None if operation.operator.as_str() == "+" => left.join(right, ""),
                    None => Value::unknown(),
                }
            }
            Expression::ArrayExpression(array) => {
                let parts = array.elements.iter().take(16).filter_map(|element| element.as_expression());
                let parts = parts.map(|element| self.fold(element, depth));
                parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default()
            }
            Expression::ObjectExpression(object) => {
                let parts = object.properties.iter().take(16).filter_map(|property| match property {
                    ObjectPropertyKind::ObjectProperty(property) => Some(self.fold(&property.value, depth)),
                    ObjectPropertyKind::SpreadProperty(_) => None,
                });
                parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default()
            }
            Expression::CallExpression(call) => {
                let name = self.dotted(&call.callee, depth).unwrap_or_default();
                self.fold_call(&name, &call.callee, &call.arguments, depth)
            }
            Expression::NewExpression(new) => {
                let name = self.dotted(&new.callee, depth).unwrap_or_default();
                self.fold_call(&name, &new.callee, &new.arguments, depth)
            }
            Expression::StaticMemberExpression(member) => {
                let name = self.dotted(expression, depth).unwrap_or_default();
                if name == "process.env.HOME" {
                    return Value::text("~");
                }
                let mut value = Value::unknown();
                // One variable is not the whole environment.
                if !name.starts_with("process.env.") {
                    value.takes_calls(self.fold(&member.object, depth).calls);
                }
                value.takes_calls([name]);
                value
            }
            Expression::AwaitExpression(waits) => self.fold(&waits.argument, depth),
            Expression::ParenthesizedExpression(inner) => self.fold(&inner.expression, depth),
            Expression::TSAsExpression(inner) => self.fold(&inner.expression, depth),
            _ => Value::unknown(),
        }
    }

    fn fold_template(&self, template: &TemplateLiteral, depth: usize) -> Value {
        let mut text = Value::default();
        for (index, quasi) in template.quasis.iter().enumerate().take(64) {
            text = text.join(Value::text(quasi.value.raw.as_str()), "");
            if let Some(expression) = template.expressions.get(index) {
                text = text.join(self.fold(expression, depth), "");
            }
        }
        text
    }

    fn fold_call(&self, name: &str, callee: &Expression, arguments: &[Argument], depth: usize) -> Value {
        let parts = || {
            arguments.iter().take(8).filter_map(|arg| arg.as_expression()).map(|arg| self.fold(arg, depth))
        };
        let receiver = match callee {
            Expression::StaticMemberExpression(member) => self.fold(&member.object, depth),
            _ => Value::unknown(),
        };
        let mut value = match name {
            "path.join" | "path.resolve" | "path.posix.join" => {
                parts().reduce(|path, part| path.join(part, "/")).unwrap_or_default()
            }
            "os.homedir" => Value::text("~"),
            "String" | "URL" => parts().next().unwrap_or_default(),
            _ => match name.rsplit('.').next().unwrap_or_default() {
                "join" => receiver,
                "concat" => parts().fold(receiver, |text, part| text.join(part, "")),
                "trim" | "toString" | "toLowerCase" => receiver,
                "reverse" | "split" => receiver,
                _ => {
                    let mut value = Value::unknown();
                    value.takes_calls(receiver.calls);
                    parts().for_each(|part| value.takes_calls(part.calls));
                    value
                }
            },
        };
        value.takes_calls([name.to_owned()]);
        value
    }

    fn read_call(&mut self, callee: &Expression, arguments: &[Argument], at: usize) {
        let name = self.dotted(callee, FOLD_DEPTH).unwrap_or_else(|| "?".to_owned());
        let receiver = match callee {
            Expression::StaticMemberExpression(member) => self.fold(&member.object, FOLD_DEPTH),
            _ => Value::unknown(),
        };
        let (mut args, mut named) = (Vec::new(), Vec::new());
        for arg in arguments.iter().take(16).filter_map(|arg| arg.as_expression()) {
            if let Expression::ObjectExpression(object) = arg {
                for property in object.properties.iter().take(32) {
                    if let ObjectPropertyKind::ObjectProperty(property) = property {
                        named.push((key(&property.key), self.fold(&property.value, FOLD_DEPTH)));
                    }
                }
            }
            args.push(self.fold(arg, FOLD_DEPTH));
        }
        if name == "require" {
            let required = args.first().map_or("", |value: &Value| &value.text);
            self.facts.modules.push((module(required).to_owned(), at));
        }
        if leaves(&name) {
            self.leave(true);
        }
        let own = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Function { name, asked } => Some((name.clone(), *asked)),
            Frame::Loop { .. } => None,
        });
        if own.is_some_and(|(own, asked)| own == name && !asked && !own.is_empty()) {
            self.facts.recursive.push(at);
        }
        let around = self.around();
        self.facts.calls.push(Call { name, receiver, args, named, at, around, guarded: false });
    }

    fn bind(&mut self, pattern: &BindingPattern, init: &Expression) {
        match pattern {
            BindingPattern::BindingIdentifier(name) => {
                if let Some(thing) = self.dotted(init, FOLD_DEPTH) {
                    self.names.alias(&name.name, thing);
                }
                let value = self.fold(init, FOLD_DEPTH);
                self.names.assign(&name.name, value);
                self.naming = Some(name.name.to_string());
            }
            BindingPattern::ObjectPattern(object) => {
                let Some(from) = self.dotted(init, FOLD_DEPTH) else { return };
                for property in object.properties.iter().take(64) {
                    if let BindingPattern::BindingIdentifier(name) = &property.value {
                        let thing = format!("{from}.{}", key(&property.key));
                        self.names.alias(&name.name, thing);
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_true(test: &Expression) -> bool {
    match test {
        Expression::BooleanLiteral(literal) => literal.value,
        Expression::NumericLiteral(literal) => literal.value != 0.0,
        Expression::UnaryExpression(operation) => {
            operation.operator.as_str() == "!"
                && match &operation.argument {
                    Expression::BooleanLiteral(literal) => !literal.value,
                    Expression::NumericLiteral(literal) => literal.value == 0.0,
                    _ => false,
                }
        }
        _ => false,
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_program(&mut self, program: &Program<'a>) {
        walk::walk_program(self, program);
    }

    fn visit_import_declaration(&mut self, import: &ImportDeclaration<'a>) {
        let from = module(&import.source.value).to_owned();
        for specifier in import.specifiers.iter().flatten() {
            match specifier {
                ImportDeclarationSpecifier::ImportSpecifier(one) => {
                    self.names.alias(&one.local.name, format!("{from}.{}", one.imported.name()));
                }
                ImportDeclarationSpecifier::ImportDefaultSpecifier(one) => {
                    self.names.alias(&one.local.name, from.clone());
                }
                ImportDeclarationSpecifier::ImportNamespaceSpecifier(one) => {
                    self.names.alias(&one.local.name, from.clone());
                }
            }
        }
        self.facts.modules.push((from, start(import.span)));
    }

    fn visit_variable_declarator(&mut self, declarator: &VariableDeclarator<'a>) {
        if let Some(init) = &declarator.init {
            self.bind(&declarator.id, init);
        }
        walk::walk_variable_declarator(self, declarator);
        self.naming = None;
    }

    fn visit_call_expression(&mut self, call: &CallExpression<'a>) {
        self.read_call(&call.callee, &call.arguments, start(call.span));
        walk::walk_call_expression(self, call);
    }

    fn visit_new_expression(&mut self, new: &NewExpression<'a>) {
        self.read_call(&new.callee, &new.arguments, start(new.span));
        walk::walk_new_expression(self, new);
    }

    fn visit_string_literal(&mut self, literal: &StringLiteral<'a>) {
        self.facts.texts.push((literal.value.to_string(), start(literal.span)));
    }

    fn visit_template_literal(&mut self, template: &TemplateLiteral<'a>) {
        let text = self.fold_template(template, 4).text;
        self.facts.texts.push((text, start(template.span)));
        walk::walk_template_literal(self, template);
    }

    fn visit_expression(&mut self, expression: &Expression<'a>) {
        match expression {
            Expression::StaticMemberExpression(member) => {
                let name = self.dotted(expression, 4).unwrap_or_default();
                self.facts.names.push((name, start(member.span)));
            }
            Expression::BinaryExpression(operation) if operation.operator.as_str() == "+" => {
                let text = self.fold(expression, 6).text;
                if text.contains(['/', '~']) {
                    self.facts.texts.push((text, start(operation.span)));
                }
            }
            Expression::AwaitExpression(_) | Expression::YieldExpression(_) => self.leave(true),
            Expression::ConditionalExpression(_) | Expression::LogicalExpression(_) => self.ask(),
            _ => {}
        }
        walk::walk_expression(self, expression);
    }

    fn visit_statement(&mut self, statement: &Statement<'a>) {
        match statement {
            Statement::BreakStatement(leave) => self.leave(leave.label.is_some()),
            Statement::ReturnStatement(_) | Statement::ThrowStatement(_) => {
                walk::walk_statement(self, statement);
                self.leave(true);
                self.ask();
                return;
            }
            Statement::IfStatement(_) | Statement::SwitchStatement(_) | Statement::TryStatement(_) => {
                self.ask()
            }
            Statement::DoWhileStatement(looped) => {
                let (at, endless) = (start(looped.span()), is_true(&looped.test));
                self.frames.push(Frame::Loop { at, endless, left: false });
                walk::walk_statement(self, statement);
                self.end_loop();
                return;
            }
            Statement::ForOfStatement(_) | Statement::ForInStatement(_) => {
                self.frames.push(Frame::Loop { at: 0, endless: false, left: false });
                walk::walk_statement(self, statement);
                self.end_loop();
                return;
            }
            _ => {}
        }
        walk::walk_statement(self, statement);
    }

    fn visit_while_statement(&mut self, looped: &WhileStatement<'a>) {
        self.frames.push(Frame::Loop { at: start(looped.span), endless: is_true(&looped.test), left: false });
        walk::walk_while_statement(self, looped);
        self.end_loop();
    }

    fn visit_for_statement(&mut self, looped: &ForStatement<'a>) {
        let endless = looped.test.as_ref().is_none_or(is_true);
        self.frames.push(Frame::Loop { at: start(looped.span), endless, left: false });
        walk::walk_for_statement(self, looped);
        self.end_loop();
    }

    fn visit_function(&mut self, function: &Function<'a>, flags: oxc_syntax::scope::ScopeFlags) {
        let name = function.id.as_ref().map(|id| id.name.to_string()).or_else(|| self.naming.take());
        self.frames.push(Frame::Function { name: name.unwrap_or_default(), asked: false });
        walk::walk_function(self, function, flags);
        self.frames.pop();
    }

    fn visit_arrow_function_expression(&mut self, function: &ArrowFunctionExpression<'a>) {
        let name = self.naming.take().unwrap_or_default();
        self.frames.push(Frame::Function { name, asked: false });
        walk::walk_arrow_function_expression(self, function);
        self.frames.pop();
    }
}
