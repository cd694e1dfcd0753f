//! What can be said of a JavaScript expression without running it: its name, its text, what it is made of.

use super::{Reader, module};
use crate::facts::{OWN_FILE, READ, Value};
use oxc_ast::ast::{Argument, Expression, ObjectPropertyKind, TemplateLiteral};

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
                let mut value = Value::unknown();
                // One variable is not the whole environment.
                if !name.starts_with("process.env.") {
                    value.takes_calls(self.fold(&member.object, depth).calls);
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
        if matches!(name, "fs.readFileSync" | "fs.readFile" | "fs.createReadStream") {
            value.takes_calls([format!("{READ}{}", parts().next().unwrap_or_default().text)]);
        }
        value.takes_calls([name.to_owned()]);
        value
    }
}
