//! What a Python program does, from ruff's syntax tree. Everything here runs on the stack of [`crate::bound::with_stack`].

mod fold;
mod functions;

use crate::facts::{Around, Call, EACH, Endless, FOLD_DEPTH, Facts, Names, UNKNOWN, Value, leaves};
use crate::parameters::Parameters;
use crate::place::weight;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, Number, Operator, Stmt};
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
    reader.parameters.resolve(&mut reader.facts);
    reader.facts
}

/// A loop or function around what is read now.
#[derive(Debug)]
enum Frame {
    Loop {
        at: usize,
        endless: bool,
        left: bool,
        /// Whether it goes over something that the program was given: that ends.
        given: bool,
    },
    Function {
        name: String,
        asked: bool,
    },
    /// Its functions are not reached by their bare names.
    Class,
}

#[derive(Default)]
struct Reader {
    facts: Facts,
    names: Names,
    frames: Vec<Frame>,
    parameters: Parameters,
    /// How many choices are around.
    choices: usize,
    /// What the functions around return.
    returns: Vec<Value>,
    /// Where the expression begins whose value nobody takes.
    dropped: Option<usize>,
}

impl Reader {
    /// The loop around: whether it ends is known when all of it is read.
    fn around(&self) -> Around {
        match self.frames.last() {
            Some(Frame::Loop { .. }) => Around::Loop,
            _ => Around::Nothing,
        }
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
                Frame::Function { .. } | Frame::Class => return,
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

    fn in_loop(&mut self, at: usize, endless: bool, given: bool, body: &[Stmt]) {
        let first = self.facts.calls.len();
        self.frames.push(Frame::Loop { at, endless, left: false, given });
        body.iter().for_each(|statement| self.visit_stmt(statement));
        if let Some(Frame::Loop { at, endless: true, left: false, .. }) = self.frames.pop() {
            self.facts.endless.push(Endless { at });
            let calls = self.facts.calls[first..].iter_mut();
            calls.filter(|call| call.around == Around::Loop).for_each(|call| call.around = Around::Endless);
        }
    }

    /// Says what the names of a loop hold: one of many each.
    fn bind_each(&mut self, target: &Expr, from: &Expr) {
        let names = match target {
            Expr::Tuple(tuple) => &tuple.elts[..],
            one => std::slice::from_ref(one),
        };
        let literal = match from {
            Expr::List(list) => &list.elts[..],
            Expr::Tuple(tuple) => &tuple.elts[..],
            _ => &[],
        };
        // Of what stands there for each round, the gravest stands for all.
        let known = literal.iter().take(16).map(|element| self.fold(element, FOLD_DEPTH));
        let one = known
            .max_by_key(|value| weight(&value.text))
            .map(|mut value| {
                value.takes_calls([EACH.to_owned()]);
                value
            })
            .unwrap_or_else(|| self.fold(from, FOLD_DEPTH).each());
        for name in names.iter().take(8) {
            if let Expr::Name(name) = name {
                self.names.assign(&name.id, one.clone());
            }
        }
    }

    /// Says that what a part of a variable is made of, the variable is made of.
    fn fill(&mut self, part: &Expr, value: &Expr) {
        if let Expr::Subscript(subscript) = part
            && let Expr::Name(whole) = &*subscript.value
        {
            let calls = self.fold(value, FOLD_DEPTH).calls;
            self.names.extend(&whole.id, calls);
        }
    }

    /// Reads what is reached by a choice.
    fn choose(&mut self, body: &[Stmt], counts: bool) {
        self.choices += usize::from(counts);
        body.iter().for_each(|statement| self.visit_stmt(statement));
        self.choices -= usize::from(counts);
    }

    fn bind(&mut self, target: &Expr, value: &Expr) {
        match target {
            Expr::Name(name) => {
                if let Some(thing) = self.dotted(value, FOLD_DEPTH) {
                    self.names.alias(&name.id, thing);
                }
                let folded = self.fold(value, FOLD_DEPTH);
                if let Expr::Dict(dict) = value {
                    self.bind_members(&name.id, dict);
                }
                if matches!(value, Expr::Lambda(_)) {
                    self.names.assign(&format!("{}()", name.id), folded.clone());
                }
                self.names.assign(&name.id, folded);
            }
            Expr::Attribute(_) => {
                if let Some(name) = self.dotted(target, 4) {
                    let folded = self.fold(value, FOLD_DEPTH);
                    self.names.assign(&name, folded);
                }
            }
            Expr::List(_) | Expr::Tuple(_) => {
                let parts = |expression: &Expr| match expression {
                    Expr::List(list) => list.elts.to_vec(),
                    Expr::Tuple(tuple) => tuple.elts.to_vec(),
                    _ => Vec::new(),
                };
                // Few names only: a copy of a large literal is not worth it.
                let (targets, values) =
                    (parts(target), if is_small(value) { parts(value) } else { Vec::new() });
                if matches!(value, Expr::Call(_) | Expr::Await(_) | Expr::Name(_)) {
                    let mut one = Value::unknown();
                    one.takes_calls(self.fold(value, FOLD_DEPTH).calls);
                    for target in targets.iter().take(8) {
                        if let Expr::Name(name) = target {
                            self.names.assign(&name.id, one.clone());
                        }
                    }
                }
                targets.iter().zip(&values).for_each(|(target, value)| {
                    if matches!(target, Expr::Name(_)) {
                        self.bind(target, value);
                    }
                });
            }
            _ => {}
        }
    }

    /// Says what the members of a dictionary are.
    fn bind_members(&mut self, name: &str, dict: &ast::ExprDict) {
        for item in dict.items.iter().take(16) {
            if let Some(Expr::StringLiteral(key)) = &item.key {
                let value = self.fold(&item.value, FOLD_DEPTH);
                self.names.assign(&format!("{name}.{}", key.value.to_str()), value);
            }
        }
    }

    fn read_call(&mut self, call: &ast::ExprCall) {
        let name = self.dotted(&call.func, FOLD_DEPTH).unwrap_or_else(|| "?".to_owned());
        let receiver = match &*call.func {
            Expr::Attribute(attribute) => self.fold(&attribute.value, FOLD_DEPTH),
            _ => Value::unknown(),
        };
        let args: Vec<Value> =
            call.arguments.args.iter().take(16).map(|arg| self.fold(arg, FOLD_DEPTH)).collect();
        let mut named = Vec::new();
        for keyword in call.arguments.keywords.iter().take(32) {
            let name = keyword.arg.as_ref().map_or("**", |name| name.as_str()).to_owned();
            named.push((name, self.fold(&keyword.value, FOLD_DEPTH)));
        }
        if leaves(&name, args.len()) || name.ends_with("exit") {
            self.leave(true);
        }
        // A loop over what was given ends, and so does what it calls.
        let mut given_around = false;
        let own = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Function { name, asked } => Some((name, *asked || given_around)),
            Frame::Loop { given, .. } => {
                given_around |= given;
                None
            }
            Frame::Class => None,
        });
        let at = call.range().start().to_usize();
        if own.is_some_and(|(own, asked)| *own == name && !asked) {
            self.facts.recursive.push(at);
        }
        if let Expr::Attribute(attribute) = &*call.func
            && matches!(
                attribute.attr.as_str(),
                "append" | "extend" | "add" | "update" | "write" | "writestr"
            )
            && let Some(whole) = match &*attribute.value {
                Expr::Name(whole) => Some(whole.id.to_string()),
                inner @ Expr::Attribute(_) => self.dotted(inner, 4),
                _ => None,
            }
        {
            let values = args.iter().chain(named.iter().map(|(_, value): &(String, Value)| value));
            let calls = values.flat_map(|value| &value.calls).cloned().collect();
            self.names.extend(&whole, calls);
        }
        let around = self.around();
        self.facts.calls.push(Call {
            name,
            receiver,
            args,
            named,
            at,
            around,
            used: self.dropped != Some(at),
            chosen: self.choices > 0,
            within: self.within(),
        });
    }
}

/// Whether a literal is worth a copy.
fn is_small(value: &Expr) -> bool {
    matches!(value, Expr::List(ast::ExprList { elts, .. }) | Expr::Tuple(ast::ExprTuple { elts, .. }) if elts.len() <= 8)
}

/// Whether a condition is `__name__ == "__main__"`, which no run of a program decides otherwise.
fn names_the_main_module(test: &Expr) -> bool {
    matches!(test, Expr::Compare(compare) if matches!(&*compare.left, Expr::Name(name) if name.id == "__name__"))
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
                    if &*alias.name == "*" {
                        for name in fold::members(module) {
                            self.names.alias(name, format!("{module}.{name}"));
                        }
                        continue;
                    }
                    let thing = format!("{module}.{}", alias.name);
                    self.names.alias(alias.asname.as_ref().unwrap_or(&alias.name), thing.clone());
                    self.facts.names.push((thing, at));
                }
                return;
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.visit_expr(value);
                    self.bind(&assign.target, value);
                }
                return;
            }
            Stmt::Assign(assign) => {
                self.visit_expr(&assign.value);
                assign.targets.iter().for_each(|target| {
                    self.visit_expr(target);
                    self.bind(target, &assign.value);
                    self.fill(target, &assign.value);
                });
                return;
            }
            Stmt::AugAssign(assign) => {
                let value = self.fold(&assign.value, FOLD_DEPTH);
                if let Expr::Name(name) = &*assign.target {
                    let before = self.names.value(&name.id);
                    if assign.op == Operator::Add && before.number.is_none() && !before.text.is_empty() {
                        self.names.assign(&name.id, before.join(value, ""));
                    } else {
                        self.names.extend(&name.id, value.calls);
                    }
                }
            }
            Stmt::With(with) => with.items.iter().for_each(|item| {
                if let Some(name) = &item.optional_vars {
                    self.bind(name, &item.context_expr);
                }
            }),
            Stmt::While(looped) => {
                let first = self.facts.calls.len();
                self.visit_expr(&looped.test);
                for call in &mut self.facts.calls[first..] {
                    call.around = call.around.max(Around::Loop);
                }
                self.in_loop(at, is_true(&looped.test), false, &looped.body);
                looped.orelse.iter().for_each(|statement| self.visit_stmt(statement));
                return;
            }
            Stmt::For(looped) => {
                self.visit_expr(&looped.iter);
                self.visit_expr(&looped.target);
                self.bind(&looped.target, &looped.iter);
                self.bind_each(&looped.target, &looped.iter);
                let over = self.dotted(&looped.iter, FOLD_DEPTH).unwrap_or_default();
                let endless = matches!(over.as_str(), "itertools.count()" | "itertools.cycle()" | "iter()")
                    || over == "itertools.repeat()"
                        && matches!(&*looped.iter, Expr::Call(call) if call.arguments.args.len() < 2);
                self.in_loop(at, endless && over != "iter()", over != "range()", &looped.body);
                looped.orelse.iter().for_each(|statement| self.visit_stmt(statement));
                return;
            }
            Stmt::FunctionDef(function) => {
                function.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
                self.visit_parameters(&function.parameters);
                self.read_function(function);
                return;
            }
            Stmt::Break(_) => self.leave(false),
            Stmt::Return(_) | Stmt::Raise(_) | Stmt::Assert(_) => {
                // A call in `return f()` is read first: it is reached before the function is left.
                visitor::walk_stmt(self, statement);
                if let Stmt::Return(ast::StmtReturn { value: Some(value), .. }) = statement
                    && !self.returns.is_empty()
                {
                    self.read_return(value);
                }
                self.leave(true);
                self.ask();
                return;
            }
            Stmt::ClassDef(_) => {
                self.frames.push(Frame::Class);
                visitor::walk_stmt(self, statement);
                self.frames.pop();
                return;
            }
            Stmt::Expr(expression) => self.dropped = Some(expression.value.range().start().to_usize()),
            Stmt::If(choice) => {
                self.ask();
                self.visit_expr(&choice.test);
                self.choose(&choice.body, !names_the_main_module(&choice.test));
                for clause in &choice.elif_else_clauses {
                    clause.test.iter().for_each(|test| self.visit_expr(test));
                    self.choose(&clause.body, true);
                }
                return;
            }
            Stmt::Try(_) | Stmt::Match(_) => self.ask(),
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
            // The whole of a chain once, not each part of it: that would be quadratic.
            Expr::Attribute(attribute)
                if attribute.attr.starts_with("__") || matches!(&*attribute.value, Expr::Name(_)) =>
            {
                let name = self.dotted(expression, 4);
                self.facts.names.extend(name.map(|name| (name, at)));
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
