//! What the functions of a Python program are given and return.

use super::{Frame, Reader};
use crate::facts::{Call, FOLD_DEPTH, Value};
use crate::parameters::FUNCTION;
use crate::place::weight;
use ruff_python_ast::visitor::Visitor;
use ruff_python_ast::{self as ast, Expr};
use ruff_text_size::Ranged;

impl Reader {
    /// The function around, if it has a name.
    pub(super) fn within(&self) -> Option<String> {
        let names = self.frames.iter().rev().filter_map(|frame| match frame {
            Frame::Function { name, .. } => Some(name),
            _ => None,
        });
        names.filter(|name| !name.is_empty()).take(1).next().cloned()
    }

    /// Reads a function, whose parameters are what calls give.
    pub(super) fn read_function(&mut self, function: &ast::StmtFunctionDef) {
        let method = matches!(self.frames.last(), Some(Frame::Class));
        let names: Vec<String> = function
            .parameters
            .iter_non_variadic_params()
            .skip(usize::from(method))
            .take(16)
            .map(|parameter| parameter.parameter.name.to_string())
            .collect();
        let marks = self.parameters.declare(&function.name, &names);
        for parameter in function.parameters.iter_non_variadic_params().take(16) {
            if let Some(default) = &parameter.default {
                let value = self.fold(default, 4);
                self.parameters.default(&function.name, &parameter.parameter.name, value);
            }
        }
        let mut itself = Value::unknown();
        itself.takes_calls([format!("{FUNCTION}{}", function.name)]);
        self.names.assign(&function.name, itself);
        let shadowed = self.names.shadow(&names, marks);
        let name = if method { String::new() } else { function.name.to_string() };
        self.frames.push(Frame::Function { name, asked: false });
        self.returns.push(Value::default());
        function.body.iter().for_each(|statement| self.visit_stmt(statement));
        self.frames.pop();
        self.names.restore(shadowed);
        if let Some(returned) = self.returns.pop().filter(|value| *value != Value::default()) {
            if function.name.starts_with("__reduce") {
                let at = function.range().start().to_usize();
                let args = vec![returned.clone()];
                self.facts.calls.push(Call { name: "(reduce)".to_owned(), args, at, ..Call::default() });
            }
            self.names.assign(&format!("{}()", function.name), returned);
        }
    }

    pub(super) fn read_return(&mut self, value: &Expr) {
        let value = self.fold(value, FOLD_DEPTH);
        if let Some(returned) = self.returns.last_mut() {
            if weight(&value.text) >= weight(&returned.text) {
                (returned.text, returned.number, returned.many) = (value.text, value.number, value.many);
            }
            returned.takes_calls(value.calls);
        }
    }
}
