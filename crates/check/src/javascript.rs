//! What a JavaScript or TypeScript program does, from oxc's syntax tree. Runs on the stack of [`crate::bound::with_stack`].

mod fold;
mod functions;

use crate::facts::{Around, Call, Endless, FOLD_DEPTH, Facts, Names, RECEIVED, Value, leaves};
use crate::parameters::Parameters;
use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, ArrowFunctionExpression, AssignmentExpression, AssignmentTarget, BindingPattern,
    CallExpression, Expression, ForStatement, ForStatementInit, ForStatementLeft, Function,
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
    reader.parameters.resolve(&mut reader.facts);
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
    parameters: Parameters,
    /// What the functions around return.
    returns: Vec<Value>,
    frames: Vec<Frame>,
    /// What the next function is called, when it is assigned to a name.
    naming: Option<String>,
    /// How many choices are around.
    choices: usize,
    /// Calls that were read before each loop around began.
    begun: Vec<usize>,
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
    /// The loop around: whether it ends is known when all of it is read.
    fn around(&self) -> Around {
        match self.frames.last() {
            Some(Frame::Loop { .. }) => Around::Loop,
            _ => Around::Nothing,
        }
    }

    fn begin_loop(&mut self, at: usize, endless: bool) {
        self.begun.push(self.facts.calls.len());
        self.frames.push(Frame::Loop { at, endless, left: false });
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
        let first = self.begun.pop().unwrap_or_default();
        if let Some(Frame::Loop { at, endless: true, left: false }) = self.frames.pop() {
            self.facts.endless.push(Endless { at });
            let calls = self.facts.calls[first..].iter_mut();
            calls.filter(|call| call.around == Around::Loop).for_each(|call| call.around = Around::Endless);
        }
    }

    /// Says what the name that a loop declares holds: one of many each.
    fn bind_each(&mut self, left: &ForStatementLeft, right: &Expression) {
        let ForStatementLeft::VariableDeclaration(declaration) = left else { return };
        let one = self.fold(right, FOLD_DEPTH).each();
        for declarator in &declaration.declarations {
            if let BindingPattern::BindingIdentifier(name) = &declarator.id {
                self.names.assign(&name.name, one.clone());
            }
        }
    }

    /// Says that what a call is made of is what the functions among its arguments are given.
    fn bind_callbacks(&mut self, name: &str, receiver: &Value, args: &[Value], arguments: &[Argument]) {
        for argument in arguments.iter().take(4) {
            let parameters = match argument {
                Argument::ArrowFunctionExpression(function) => &function.params,
                Argument::FunctionExpression(function) => &function.params,
                _ => continue,
            };
            let mut given = if receiver.many { receiver.clone().each() } else { Value::unknown() };
            given.takes_calls(receiver.calls.iter().cloned());
            given.takes_calls(args.iter().flat_map(|value| value.calls.iter().cloned()));
            let event = args.first().map_or("", |value| &value.text);
            let listens =
                name.ends_with(".on") || name.ends_with(".addEventListener") || name.ends_with(".once");
            match event {
                "keydown" | "keypress" | "keyup" if listens => given.takes_calls(["keys".to_owned()]),
                "message" | "data" if listens => given.takes_calls([RECEIVED.to_owned()]),
                _ => {}
            }
            // What stands for the call itself, unless it is about what was there before.
            if !listens && !name.ends_with(".forEach") && !name.ends_with(".map") {
                given.takes_calls([name.to_owned()]);
            }
            for parameter in parameters.items.iter().take(4) {
                if let BindingPattern::BindingIdentifier(name) = &parameter.pattern {
                    self.names.assign(&name.name, given.clone());
                }
            }
        }
    }

    /// Says what the members of an object are.
    fn bind_members(&mut self, name: &str, init: &Expression) {
        let Expression::ObjectExpression(object) = init else { return };
        for property in object.properties.iter().take(16) {
            if let ObjectPropertyKind::ObjectProperty(property) = property {
                let value = self.fold(&property.value, FOLD_DEPTH);
                self.names.assign(&format!("{name}.{}", key(&property.key)), value);
            }
        }
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
                // Its members are told by their names.
                args.push(Value::unknown());
                continue;
            }
            args.push(self.fold(arg, FOLD_DEPTH));
        }
        if name == "require" {
            let required = args.first().map_or("", |value: &Value| &value.text);
            self.facts.modules.push((module(required).to_owned(), at));
        }
        self.bind_callbacks(&name, &receiver, &args, arguments);
        if leaves(&name, args.len()) {
            self.leave(true);
        }
        let own = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Function { name, asked } => Some((name, *asked)),
            Frame::Loop { .. } => None,
        });
        if own.is_some_and(|(own, asked)| *own == name && !asked && !own.is_empty()) {
            self.facts.recursive.push(at);
        }
        let within = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Function { name, .. } if !name.is_empty() => Some(name.clone()),
            _ => None,
        });
        let (around, chosen) = (self.around(), self.choices > 0);
        self.facts.calls.push(Call { name, receiver, args, named, at, around, used: true, chosen, within });
    }

    fn bind(&mut self, pattern: &BindingPattern, init: &Expression) {
        match pattern {
            BindingPattern::BindingIdentifier(name) => {
                if let Some(thing) = self.dotted(init, FOLD_DEPTH) {
                    self.names.alias(&name.name, thing);
                }
                let value = self.fold(init, FOLD_DEPTH);
                self.bind_members(&name.name, init);
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
        Expression::ParenthesizedExpression(inner) => is_true(&inner.expression),
        Expression::TSAsExpression(inner) => is_true(&inner.expression),
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

    fn visit_assignment_expression(&mut self, assignment: &AssignmentExpression<'a>) {
        let target = match &assignment.left {
            AssignmentTarget::AssignmentTargetIdentifier(name) => Some(name.name.to_string()),
            AssignmentTarget::StaticMemberExpression(member) => {
                self.dotted(&member.object, 4).map(|object| format!("{object}.{}", member.property.name))
            }
            _ => None,
        };
        if let Some(target) = target {
            let value = self.fold(&assignment.right, FOLD_DEPTH);
            // What a page loads, it asks another machine for.
            if target.ends_with(".src")
                || matches!(&*target, "location" | "location.href" | "document.location")
            {
                let (name, at) = ("(load)".to_owned(), start(assignment.span));
                self.facts.calls.push(Call { name, args: vec![value.clone()], at, ..Call::default() });
            }
            if target.contains(".scripts.") {
                let (name, at) = ("(script)".to_owned(), start(assignment.span));
                self.facts.calls.push(Call { name, args: vec![value.clone()], at, ..Call::default() });
            }
            match assignment.operator.as_str() {
                "=" => {
                    if let Some(thing) = self.dotted(&assignment.right, FOLD_DEPTH) {
                        self.names.alias(&target, thing);
                    }
                    self.names.assign(&target, value);
                }
                _ => self.names.extend(&target, value.calls),
            }
        }
        walk::walk_assignment_expression(self, assignment);
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
        // A name that could have been written in letters.
        const NAMES: [&str; 8] =
            ["child_process", "exec", "execSync", "eval", "constructor", "require", "Function", "spawn"];
        if literal.raw.as_ref().is_some_and(|raw| raw.contains("\\x") || raw.contains("\\u"))
            && NAMES.contains(&literal.value.as_str())
        {
            let (name, at) = ("(escaped)".to_owned(), start(literal.span));
            self.facts.calls.push(Call {
                name,
                args: vec![Value::text(literal.value.as_str())],
                at,
                ..Call::default()
            });
        }
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
                if let Statement::ReturnStatement(returns) = statement
                    && let Some(value) = &returns.argument
                {
                    self.read_return(value);
                }
                self.leave(true);
                self.ask();
                return;
            }
            Statement::IfStatement(_) | Statement::SwitchStatement(_) => {
                self.ask();
                self.choices += 1;
                walk::walk_statement(self, statement);
                self.choices -= 1;
                return;
            }
            Statement::TryStatement(_) => self.ask(),
            Statement::DoWhileStatement(looped) => {
                self.begin_loop(start(looped.span()), is_true(&looped.test));
                walk::walk_statement(self, statement);
                self.end_loop();
                return;
            }
            Statement::ForOfStatement(_) | Statement::ForInStatement(_) => {
                match statement {
                    Statement::ForOfStatement(looped) => self.bind_each(&looped.left, &looped.right),
                    Statement::ForInStatement(looped) => self.bind_each(&looped.left, &looped.right),
                    _ => {}
                }
                self.begin_loop(0, false);
                walk::walk_statement(self, statement);
                self.end_loop();
                return;
            }
            _ => {}
        }
        walk::walk_statement(self, statement);
    }

    fn visit_while_statement(&mut self, looped: &WhileStatement<'a>) {
        self.begin_loop(start(looped.span), is_true(&looped.test));
        walk::walk_while_statement(self, looped);
        self.end_loop();
    }

    fn visit_for_statement(&mut self, looped: &ForStatement<'a>) {
        let endless = looped.test.as_ref().is_none_or(is_true);
        self.begin_loop(start(looped.span), endless);
        looped.init.iter().for_each(|init| self.visit_for_statement_init(init));
        if let Some(ForStatementInit::VariableDeclaration(declaration)) = &looped.init {
            // As Python's loops over numbers.
            let mut counted = Value::unknown();
            counted.takes_calls(["range".to_owned()]);
            for declarator in &declaration.declarations {
                if let BindingPattern::BindingIdentifier(name) = &declarator.id {
                    self.names.assign(&name.name, counted.clone());
                }
            }
        }
        looped.test.iter().for_each(|test| self.visit_expression(test));
        looped.update.iter().for_each(|update| self.visit_expression(update));
        self.visit_statement(&looped.body);
        self.end_loop();
    }

    fn visit_function(&mut self, function: &Function<'a>, flags: oxc_syntax::scope::ScopeFlags) {
        let name = function.id.as_ref().map(|id| id.name.to_string()).or_else(|| self.naming.take());
        let name = name.unwrap_or_default();
        let shadowed = self.enter_function(&name, &function.params);
        self.frames.push(Frame::Function { name: name.clone(), asked: false });
        walk::walk_function(self, function, flags);
        self.frames.pop();
        self.leave_function(&name, shadowed);
    }

    fn visit_arrow_function_expression(&mut self, function: &ArrowFunctionExpression<'a>) {
        let name = self.naming.take().unwrap_or_default();
        let shadowed = self.enter_function(&name, &function.params);
        self.frames.push(Frame::Function { name: name.clone(), asked: false });
        walk::walk_arrow_function_expression(self, function);
        self.frames.pop();
        if let Some(value) = function.body.as_expression() {
            self.read_return(value);
        }
        self.leave_function(&name, shadowed);
    }
}
