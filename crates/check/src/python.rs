//! What a Python program does, from ruff's syntax tree. Everything here runs on the stack of [`crate::bound::with_stack`].

use crate::facts::{Around, Call, Endless, FOLD_DEPTH, Facts, Names, UNKNOWN, Value, leaves};
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, InterpolatedStringElement, Number, Operator, Stmt};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::Ranged;

/// Reads a program. What stands around a mistake of syntax is read as far as the parser gets.
pub fn read(source: &str) -> Facts {
    let parsed = parse_unchecked(source, ParseOptions::from(Mode::Module));
    let mut reader = Reader::default();
    reader.facts.parsed = parsed.errors().is_empty();
    if let ast::Mod::Module(module) = parsed.syntax() {
        module.body.iter().for_each(|statement| reader.visit_stmt(statement));
    }
    reader.facts
}

/// A loop or function around what is read now.
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
}

impl Reader {
    fn around(&self) -> Around {
        let loops = self.frames.iter().rev().map_while(|frame| match frame {
            Frame::Loop { endless, .. } => Some(if *endless { Around::Endless } else { Around::Loop }),
            Frame::Function { .. } => None,
        });
        loops.max().unwrap_or_default()
    }

    /// Says that control may leave the loops up to the next function, or only the nearest one.
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

    /// Says that the function being read makes a choice: it need not call itself for ever.
    fn ask(&mut self) {
        for frame in self.frames.iter_mut().rev() {
            if let Frame::Function { asked, .. } = frame {
                *asked = true;
                return;
            }
        }
    }

    fn in_loop(&mut self, at: usize, endless: bool, body: &[Stmt]) {
        self.frames.push(Frame::Loop { at, endless, left: false });
        body.iter().for_each(|statement| self.visit_stmt(statement));
        if let Some(Frame::Loop { at, endless: true, left: false }) = self.frames.pop() {
            self.facts.endless.push(Endless { at });
        }
    }

    fn bind(&mut self, target: &Expr, value: &Expr) {
        match target {
            Expr::Name(name) => {
                if let Some(thing) = self.dotted(value, FOLD_DEPTH) {
                    self.names.alias(&name.id, thing);
                }
                let folded = self.fold(value, FOLD_DEPTH);
                self.names.assign(&name.id, folded);
            }
            Expr::List(_) | Expr::Tuple(_) => {
                let parts = |expression: &Expr| match expression {
                    Expr::List(list) => list.elts.iter().cloned().collect(),
                    Expr::Tuple(tuple) => tuple.elts.iter().cloned().collect(),
                    _ => Vec::new(),
                };
                // Few names only: a copy of a large literal is not worth it.
                let (targets, values) =
                    (parts(target), if is_small(value) { parts(value) } else { Vec::new() });
                targets.iter().zip(&values).for_each(|(target, value)| {
                    if matches!(target, Expr::Name(_)) {
                        self.bind(target, value);
                    }
                });
            }
            _ => {}
        }
    }

    /// The name of what an expression is, if it has one: `os.path.join`, `pathlib.Path().unlink`.
    fn dotted(&self, expression: &Expr, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        match expression {
            Expr::Name(name) => Some(self.names.resolve(&name.id).to_owned()),
            Expr::Attribute(attribute) => {
                let object = self.dotted(&attribute.value, depth).unwrap_or_else(|| "?".to_owned());
                Some(format!("{object}.{}", attribute.attr))
            }
            Expr::Call(call) => match self.dotted(&call.func, depth)?.as_str() {
                "__import__" | "importlib.import_module" | "builtins.__import__" => {
                    Some(self.fold(call.arguments.args.first()?, depth).text)
                }
                "getattr" | "builtins.getattr" if call.arguments.args.len() > 1 => {
                    let object = self.dotted(&call.arguments.args[0], depth)?;
                    Some(format!("{object}.{}", self.fold(&call.arguments.args[1], depth).text))
                }
                name => Some(format!("{name}()")),
            },
            Expr::Subscript(subscript) => {
                let object = self.dotted(&subscript.value, depth)?;
                // `__builtins__['eval']` and `globals()['f']` are other ways to say a name.
                if matches!(object.as_str(), "__builtins__" | "globals()" | "locals()" | "vars()")
                    || object.ends_with(".__dict__")
                {
                    return Some(format!("{object}.{}", self.fold(&subscript.slice, depth).text));
                }
                Some(format!("{object}[]"))
            }
            Expr::Await(waits) => self.dotted(&waits.value, depth),
            _ => None,
        }
    }

    /// What can be said of an expression.
    fn fold(&self, expression: &Expr, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else { return Value::unknown() };
        match expression {
            Expr::StringLiteral(literal) => Value::text(literal.value.to_str()),
            Expr::BytesLiteral(literal) => {
                let bytes: Vec<u8> = literal.value.bytes().take(4096).collect();
                Value::text(String::from_utf8_lossy(&bytes))
            }
            Expr::NumberLiteral(literal) => {
                let number = match &literal.value {
                    Number::Int(int) => int.as_i64().map_or(f64::MAX, |int| int as f64),
                    Number::Float(float) => *float,
                    Number::Complex { .. } => return Value::unknown(),
                };
                Value { number: Some(number), ..Value::text(number.to_string()) }
            }
            Expr::FString(string) => string.value.elements().fold(Value::default(), |text, element| {
                let part = match element {
                    InterpolatedStringElement::Literal(literal) => Value::text(&*literal.value),
                    InterpolatedStringElement::Interpolation(part) => self.fold(&part.expression, depth),
                };
                text.join(part, "")
            }),
            Expr::Name(name) => self.names.value(&name.id),
            Expr::BinOp(operation) => self.fold_operation(operation, depth),
            Expr::UnaryOp(operation) => {
                let mut value = self.fold(&operation.operand, depth);
                if operation.op == ast::UnaryOp::USub {
                    value.number = value.number.map(|number| -number);
                    value.text.insert(0, '-');
                }
                value
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Set(_) => {
                let elements = match expression {
                    Expr::List(list) => &list.elts[..],
                    Expr::Tuple(tuple) => &tuple.elts[..],
                    Expr::Set(set) => &set.elts[..],
                    _ => &[],
                };
                let parts = elements.iter().take(16).map(|element| self.fold(element, depth));
                parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default()
            }
            Expr::Dict(dict) => {
                let parts = dict.items.iter().take(16).map(|item| self.fold(&item.value, depth));
                parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default()
            }
            Expr::Call(call) => self.fold_call(call, depth),
            Expr::Attribute(attribute) => {
                let mut value = Value::unknown();
                value.takes_calls(self.fold(&attribute.value, depth).calls);
                if let Some(name) = self.dotted(expression, depth) {
                    value.takes_calls([name]);
                }
                value
            }
            Expr::Subscript(subscript) => {
                let object = self.dotted(&subscript.value, depth).unwrap_or_default();
                let key = self.fold(&subscript.slice, depth).text;
                if object == "os.environ" && matches!(key.as_str(), "HOME" | "USERPROFILE") {
                    return Value::text("~");
                }
                let mut value = Value::unknown();
                // One variable is not the whole environment.
                if object != "os.environ" {
                    value.takes_calls(self.fold(&subscript.value, depth).calls);
                }
                value.takes_calls([format!("{object}[]")]);
                value
            }
            Expr::Await(waits) => self.fold(&waits.value, depth),
            Expr::ListComp(list) => self.fold_made_of(&list.elt, &list.generators, depth),
            Expr::Generator(list) => self.fold_made_of(&list.elt, &list.generators, depth),
            Expr::Named(named) => self.fold(&named.value, depth),
            _ => Value::unknown(),
        }
    }

    fn fold_made_of(&self, element: &Expr, from: &[ast::Comprehension], depth: usize) -> Value {
        let mut value = Value::unknown();
        value.takes_calls(self.fold(element, depth).calls);
        from.iter().take(4).for_each(|from| value.takes_calls(self.fold(&from.iter, depth).calls));
        value
    }

    fn fold_operation(&self, operation: &ast::ExprBinOp, depth: usize) -> Value {
        let (left, right) = (self.fold(&operation.left, depth), self.fold(&operation.right, depth));
        let numbers = left.number.zip(right.number);
        let number = match operation.op {
            Operator::Add => numbers.map(|(a, b)| a + b),
            Operator::Sub => numbers.map(|(a, b)| a - b),
            Operator::Mult => numbers.map(|(a, b)| a * b),
            Operator::Pow => numbers.map(|(a, b)| a.powf(b)),
            Operator::LShift => numbers.map(|(a, b)| a * b.exp2()),
            _ => None,
        };
        if let Some(number) = number {
            return Value { number: Some(number), ..Value::text(number.to_string()) };
        }
        match operation.op {
            Operator::Add => left.join(right, ""),
            Operator::Div => left.join(right, "/"),
            Operator::Mod => {
                let text = left.text.replace("%s", &right.text);
                let mut value = Value::text(text);
                value.takes_calls(left.calls.into_iter().chain(right.calls));
                value
            }
            _ => {
                let mut value = Value::unknown();
                value.takes_calls(left.calls.into_iter().chain(right.calls));
                value
            }
        }
    }

    fn fold_call(&self, call: &ast::ExprCall, depth: usize) -> Value {
        let name = self.dotted(&call.func, depth).unwrap_or_default();
        let args = &call.arguments.args;
        let parts = || args.iter().take(8).map(|arg| self.fold(arg, depth));
        let receiver = match &*call.func {
            Expr::Attribute(attribute) => self.fold(&attribute.value, depth),
            _ => Value::unknown(),
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        let mut value = match last {
            "join" if name.ends_with("path.join") => {
                parts().reduce(|path, part| path.join(part, "/")).unwrap_or_default()
            }
            "join" => parts().next().unwrap_or_default(),
            "joinpath" => parts().fold(receiver, |path, part| path.join(part, "/")),
            "Path" | "PurePath" | "PosixPath" => {
                parts().reduce(|path, part| path.join(part, "/")).unwrap_or_default()
            }
            "expanduser" | "abspath" | "realpath" | "str" | "fspath" | "normpath" | "expandvars"
            | "Request" | "bytes"
                if !args.is_empty() =>
            {
                parts().next().unwrap_or_default()
            }
            "expanduser" | "resolve" | "absolute" | "encode" | "strip" | "lower" | "as_posix" | "decode" => {
                receiver
            }
            "home" if name.ends_with("Path.home") => Value::text("~"),
            "getenv" | "get"
                if matches!(args.first().map(|arg| self.fold(arg, depth).text).as_deref(), Some("HOME")) =>
            {
                Value::text("~")
            }
            "format" => parts().fold(receiver, |text, part| {
                let mut joined = Value::text(text.text.replacen("{}", &part.text, 1));
                joined.takes_calls(text.calls.into_iter().chain(part.calls));
                joined
            }),
            _ => {
                let mut value = Value::unknown();
                if name != "os.environ.get" {
                    value.takes_calls(receiver.calls);
                }
                for part in parts() {
                    value.takes_calls(part.calls);
                }
                for keyword in call.arguments.keywords.iter().take(8) {
                    value.takes_calls(self.fold(&keyword.value, depth).calls);
                }
                value
            }
        };
        value.takes_calls([name]);
        value
    }

    fn read_call(&mut self, call: &ast::ExprCall) {
        let name = self.dotted(&call.func, FOLD_DEPTH).unwrap_or_else(|| "?".to_owned());
        let receiver = match &*call.func {
            Expr::Attribute(attribute) => self.fold(&attribute.value, FOLD_DEPTH),
            _ => Value::unknown(),
        };
        let args = call.arguments.args.iter().take(16).map(|arg| self.fold(arg, FOLD_DEPTH)).collect();
        let mut named = Vec::new();
        for keyword in call.arguments.keywords.iter().take(32) {
            let name = keyword.arg.as_ref().map_or("**", |name| name.as_str()).to_owned();
            named.push((name, self.fold(&keyword.value, FOLD_DEPTH)));
        }
        if leaves(&name) || name.ends_with("exit") {
            self.leave(true);
        }
        let own = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Function { name, asked } => Some((name.clone(), *asked)),
            Frame::Loop { .. } => None,
        });
        if own.is_some_and(|(own, asked)| own == name && !asked) {
            self.facts.recursive.push(call.range().start().to_usize());
        }
        let around = self.around();
        self.facts.calls.push(Call {
            name,
            receiver,
            args,
            named,
            at: call.range().start().to_usize(),
            around,
            guarded: false,
        });
    }
}

/// Whether a literal is worth a copy.
fn is_small(value: &Expr) -> bool {
    matches!(value, Expr::List(ast::ExprList { elts, .. }) | Expr::Tuple(ast::ExprTuple { elts, .. }) if elts.len() <= 8)
}

/// Whether a condition is always true.
fn is_true(test: &Expr) -> bool {
    match test {
        Expr::BooleanLiteral(literal) => literal.value,
        Expr::NumberLiteral(literal) => {
            !matches!(&literal.value, Number::Int(int) if int.as_u64() == Some(0))
        }
        Expr::StringLiteral(literal) => !literal.value.is_empty(),
        Expr::UnaryOp(operation) if operation.op == ast::UnaryOp::Not => {
            matches!(&*operation.operand, Expr::BooleanLiteral(literal) if !literal.value)
        }
        _ => false,
    }
}

impl<'a> Visitor<'a> for Reader {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let at = statement.range().start().to_usize();
        match statement {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let module = alias.name.as_str();
                    self.facts.modules.push((module.to_owned(), at));
                    match &alias.asname {
                        Some(name) => self.names.alias(name, module),
                        None => self.names.alias(
                            module.split('.').next().unwrap_or(module),
                            module.split('.').next().unwrap_or(module),
                        ),
                    }
                }
                return;
            }
            Stmt::ImportFrom(import) => {
                let module = import.module.as_ref().map_or("", |module| module.as_str());
                if import.level == 0 {
                    self.facts.modules.push((module.to_owned(), at));
                }
                for alias in &import.names {
                    let thing = format!("{module}.{}", alias.name);
                    self.names.alias(alias.asname.as_ref().unwrap_or(&alias.name), thing.clone());
                    self.facts.names.push((thing, at));
                }
                return;
            }
            Stmt::Assign(assign) => {
                self.visit_expr(&assign.value);
                assign.targets.iter().for_each(|target| {
                    self.visit_expr(target);
                    self.bind(target, &assign.value);
                });
                return;
            }
            Stmt::With(with) => with.items.iter().for_each(|item| {
                if let Some(name) = &item.optional_vars {
                    self.bind(name, &item.context_expr);
                }
            }),
            Stmt::While(looped) => {
                self.visit_expr(&looped.test);
                self.in_loop(at, is_true(&looped.test), &looped.body);
                looped.orelse.iter().for_each(|statement| self.visit_stmt(statement));
                return;
            }
            Stmt::For(looped) => {
                self.visit_expr(&looped.iter);
                self.visit_expr(&looped.target);
                self.bind(&looped.target, &looped.iter);
                let over = self.dotted(&looped.iter, FOLD_DEPTH).unwrap_or_default();
                let endless = matches!(over.as_str(), "itertools.count()" | "itertools.cycle()" | "iter()")
                    || over == "itertools.repeat()"
                        && matches!(&*looped.iter, Expr::Call(call) if call.arguments.args.len() < 2);
                self.in_loop(at, endless && over != "iter()", &looped.body);
                looped.orelse.iter().for_each(|statement| self.visit_stmt(statement));
                return;
            }
            Stmt::FunctionDef(function) => {
                function.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
                self.visit_parameters(&function.parameters);
                self.frames.push(Frame::Function { name: function.name.to_string(), asked: false });
                function.body.iter().for_each(|statement| self.visit_stmt(statement));
                self.frames.pop();
                return;
            }
            Stmt::Break(_) => self.leave(false),
            Stmt::Return(_) | Stmt::Raise(_) | Stmt::Assert(_) => {
                // A call in `return f()` is read first: it is reached before the function is left.
                visitor::walk_stmt(self, statement);
                self.leave(true);
                self.ask();
                return;
            }
            Stmt::If(_) | Stmt::Try(_) | Stmt::Match(_) => self.ask(),
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        let at = expression.range().start().to_usize();
        match expression {
            Expr::Call(call) => self.read_call(call),
            Expr::StringLiteral(literal) => self.facts.texts.push((literal.value.to_str().to_owned(), at)),
            Expr::BytesLiteral(_) | Expr::FString(_) => {
                let text = self.fold(expression, 4).text;
                self.facts.texts.push((text, at));
            }
            Expr::Attribute(attribute) => {
                // The whole of a chain once, not each part of it: that would be quadratic.
                if attribute.attr.starts_with("__") || matches!(&*attribute.value, Expr::Name(_)) {
                    if let Some(name) = self.dotted(expression, 4) {
                        self.facts.names.push((name, at));
                    }
                }
            }
            Expr::BinOp(operation)
                if matches!(operation.op, Operator::Add | Operator::Div | Operator::Mult | Operator::Pow) =>
            {
                let value = self.fold(expression, 6);
                let is_path =
                    value.text.contains(['/', '~']) || value.text.len() > 3 && !value.text.contains(UNKNOWN);
                if value.number.is_none() && is_path {
                    self.facts.texts.push((value.text, at));
                }
                if operation.op == Operator::Mult {
                    let sizes =
                        [&operation.left, &operation.right].map(|side| (self.fold(side, 4).number, &**side));
                    let literal = |side: &Expr| {
                        matches!(side, Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::List(_))
                    };
                    if let [(Some(size), _), (None, other)] | [(None, other), (Some(size), _)] = sizes
                        && literal(other)
                    {
                        self.facts.calls.push(Call {
                            name: "(repeat)".to_owned(),
                            args: vec![Value { number: Some(size), ..Value::default() }],
                            at,
                            ..Call::default()
                        });
                    }
                }
            }
            Expr::Yield(_) | Expr::YieldFrom(_) | Expr::Await(_) => self.leave(true),
            Expr::If(_) | Expr::BoolOp(_) => self.ask(),
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}
