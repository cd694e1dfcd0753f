//! What can be said of a JavaScript expression without running it: its name, its text, what it is made of.

use super::{Reader, module};
use crate::decode;
use crate::facts::{ENCODED, OWN_FILE, READ, UNKNOWN, Value};
use crate::place::weight;
use oxc_ast::ast::{Argument, Expression, ObjectPropertyKind, TemplateLiteral};

/// One of two values: the graver text, and what either is made of.
fn either(one: Value, other: Value) -> Value {
    let (mut taken, left) = if weight(&other.text) > weight(&one.text) { (other, one) } else { (one, other) };
    taken.takes_calls(left.calls);
    taken
}

/// What an encoded literal says; what it is made of stays.
fn decoded(value: Value, how: impl Fn(&str) -> Option<String>) -> Value {
    let text = Some(value.text).filter(|text| !text.contains(UNKNOWN)).and_then(|text| how(&text));
    let mut decoded = text.map_or_else(Value::unknown, Value::text);
    decoded.takes_calls(value.calls);
    decoded
}

/// The literal list whose method is called.
fn literal<'a, 'b>(callee: &'b Expression<'a>) -> Option<&'b oxc_ast::ast::ArrayExpression<'a>> {
    match callee {
        Expression::StaticMemberExpression(member) => match &member.object {
            Expression::ArrayExpression(array) => Some(array),
            _ => None,
        },
        _ => None,
    }
}

impl Reader {
    /// The name of what an expression is, if it has one.
    pub(super) fn dotted(&self, expression: &Expression, depth: usize) -> Option<String> {
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
                "require" | "process.mainModule.require" | "module.require" | "process.getBuiltinModule" => {
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

    /// What can be said of an expression.
    pub(super) fn fold(&self, expression: &Expression, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else { return Value::unknown() };
        match expression {
            Expression::StringLiteral(literal) => Value::text(literal.value.as_str()),
            Expression::NumericLiteral(literal) => {
                Value { number: Some(literal.value), ..Value::text(literal.value.to_string()) }
            }
            Expression::TemplateLiteral(template) => self.fold_template(template, depth),
            Expression::Identifier(name) if name.name == "__filename" => Value::text(OWN_FILE),
            Expression::Identifier(name) => self.names.value(&name.name),
            Expression::ComputedMemberExpression(member) => {
                let name = self.dotted(expression, depth).unwrap_or_default();
                if name == "process.argv.1" {
                    return Value::text(OWN_FILE);
                }
                if let Some(value) = self.names.known(&name) {
                    return value.clone();
                }
                let whole = self.fold(&member.object, depth);
                let key = self.fold(&member.expression, depth);
                let index = key.text.parse::<usize>().ok();
                let mut value = match index.and_then(|index| whole.text.split(' ').nth(index)) {
                    Some(text) if whole.many => Value::text(text),
                    // One of them, which only a run knows.
                    _ if whole.many => Value { calls: Vec::new(), ..whole.clone().each() },
                    _ => Value::unknown(),
                };
                // One variable is not the whole environment.
                if !name.starts_with("process.env.") {
                    value.takes_calls(whole.calls);
                }
                value.takes_calls([name]);
                value
            }
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
                let joined = parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default();
                Value { number: None, many: true, ..joined }
            }
            Expression::ObjectExpression(object) => {
                let parts = object.properties.iter().take(16).map(|property| match property {
                    ObjectPropertyKind::ObjectProperty(property) => self.fold(&property.value, depth),
                    ObjectPropertyKind::SpreadProperty(spread) => self.fold(&spread.argument, depth),
                });
                let joined = parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default();
                Value { number: None, many: true, ..joined }
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
                if let Some(value) = self.names.known(&name) {
                    return value.clone();
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
            Expression::UnaryExpression(operation) if operation.operator.as_str() == "-" => {
                let mut value = self.fold(&operation.argument, depth);
                value.number = value.number.map(|number| -number);
                value.text.insert(0, '-');
                value
            }
            Expression::BooleanLiteral(literal) => Value::text(if literal.value { "true" } else { "false" }),
            Expression::ConditionalExpression(choice) => {
                either(self.fold(&choice.consequent, depth), self.fold(&choice.alternate, depth))
            }
            Expression::LogicalExpression(operation) => {
                either(self.fold(&operation.left, depth), self.fold(&operation.right, depth))
            }
            Expression::TSNonNullExpression(inner) => self.fold(&inner.expression, depth),
            Expression::ChainExpression(_) => {
                let mut value = Value::unknown();
                value.takes_calls(self.dotted(expression, depth));
                value
            }
            Expression::ParenthesizedExpression(inner) => self.fold(&inner.expression, depth),
            Expression::TSAsExpression(inner) => self.fold(&inner.expression, depth),
            _ => Value::unknown(),
        }
    }

    pub(super) fn fold_template(&self, template: &TemplateLiteral, depth: usize) -> Value {
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
            "process.cwd" => Value::text("."),
            "atob" => decoded(parts().next().unwrap_or_default(), decode::base64),
            "Buffer.from" => {
                let how = parts().nth(1).unwrap_or_default().text;
                let value = parts().next().unwrap_or_default();
                match how.as_str() {
                    "base64" | "base64url" => decoded(value, decode::base64),
                    "hex" => decoded(value, decode::hex),
                    _ => value,
                }
            }
            "String.fromCharCode" | "String.fromCodePoint" => {
                let all = parts().reduce(|text, part| text.join(part, " ")).unwrap_or_default();
                decoded(all, decode::characters)
            }
            "btoa" => {
                let mut value = parts().next().unwrap_or_default();
                (value.text, value.many) = (UNKNOWN.to_string(), false);
                value.takes_calls([ENCODED.to_owned()]);
                value
            }
            "String" | "URL" | "Promise.resolve" | "Array.from" => parts().next().unwrap_or_default(),
            _ => match name.rsplit('.').next().unwrap_or_default() {
                "join" if literal(callee).is_some() => {
                    let between = parts().next().map_or(",".to_owned(), |part| part.text);
                    let elements =
                        literal(callee).into_iter().flat_map(|array| array.elements.iter().take(64));
                    let parts = elements.filter_map(|element| element.as_expression());
                    let parts = parts.map(|element| self.fold(element, depth));
                    parts.reduce(|text, part| text.join(part, &between)).unwrap_or_default()
                }
                "join" if receiver.many => {
                    let between = parts().next().map_or(",".to_owned(), |part| part.text);
                    let mut joined = Value::text(receiver.text.replace(' ', &between));
                    joined.takes_calls(receiver.calls);
                    joined
                }
                "join" => receiver,
                "split" if parts().next().is_some_and(|part| part.text.is_empty()) => {
                    let letters: Vec<String> = receiver.text.chars().map(String::from).collect();
                    let mut value = Value::text(letters.join(" "));
                    value.takes_calls(receiver.calls);
                    value.many = true;
                    value
                }
                "reverse" if receiver.many => {
                    let turned: Vec<&str> = receiver.text.split(' ').rev().collect();
                    let mut value = Value::text(turned.join(" "));
                    value.takes_calls(receiver.calls);
                    value.takes_calls(["reversed".to_owned()]);
                    value.many = true;
                    value
                }
                "replace" | "replaceAll" if arguments.len() == 2 => {
                    let both: Vec<Value> = parts().collect();
                    let mut value = receiver;
                    if let [from, to] = &both[..]
                        && !from.text.is_empty()
                    {
                        value.text = Value::text(value.text.replace(&from.text, &to.text)).text;
                    }
                    value
                }
                "toString"
                    if parts()
                        .next()
                        .is_some_and(|how| matches!(&*how.text, "hex" | "base64" | "base64url")) =>
                {
                    let mut value = receiver;
                    (value.text, value.many) = (UNKNOWN.to_string(), false);
                    value.takes_calls([ENCODED.to_owned()]);
                    value
                }
                "concat" => parts().fold(receiver, |text, part| text.join(part, "")),
                "trim" | "toString" | "toLowerCase" => receiver,
                "reverse" | "split" => receiver,
                _ => {
                    let own = self.names.known(&format!("{name}()"));
                    let mut value = own.cloned().unwrap_or_else(Value::unknown);
                    value.takes_calls(receiver.calls);
                    parts().for_each(|part| value.takes_calls(part.calls));
                    value
                }
            },
        };
        // All that a page keeps.
        let stored = |arg: &Argument| matches!(arg, Argument::Identifier(own) if matches!(&*own.name, "localStorage" | "sessionStorage"));
        if matches!(name, "JSON.stringify" | "Object.entries") && arguments.first().is_some_and(stored) {
            value.takes_calls(["document.cookie".to_owned()]);
        }
        if matches!(name, "fs.readFileSync" | "fs.readFile" | "fs.createReadStream") {
            value.takes_calls([format!("{READ}{}", parts().next().unwrap_or_default().text)]);
        }
        value.takes_calls([name.to_owned()]);
        value
    }
}
