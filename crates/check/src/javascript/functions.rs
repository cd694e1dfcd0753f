//! What the functions of a JavaScript program are given and return.

use super::Reader;
use crate::facts::{FOLD_DEPTH, Shadowed, Value};
use crate::parameters::FUNCTION;
use crate::place::weight;
use oxc_ast::ast::{BindingPattern, Expression, FormalParameters};

impl Reader {
    /// Reads the parameters of a function that has a name: they are what calls give. Returns how to forget them.
    pub(super) fn enter_function(&mut self, name: &str, params: &FormalParameters) -> Shadowed {
        self.returns.push(Value::default());
        if name.is_empty() {
            return Shadowed::new();
        }
        let mut names = Vec::new();
        for parameter in params.items.iter().take(16) {
            let name = match &parameter.pattern {
                BindingPattern::BindingIdentifier(name) => name.name.to_string(),
                _ => String::new(),
            };
            names.push(name);
        }
        let marks = self.parameters.declare(name, &names);
        for (parameter, own) in params.items.iter().zip(&names) {
            if let Some(default) = &parameter.initializer {
                let value = self.fold(default, 4);
                self.parameters.default(name, own, value);
            }
        }
        let mut itself = Value::unknown();
        itself.takes_calls([format!("{FUNCTION}{name}")]);
        self.names.assign(name, itself);
        self.names.shadow(&names, marks)
    }

    pub(super) fn leave_function(&mut self, name: &str, shadowed: Shadowed) {
        self.names.restore(shadowed);
        let returned = self.returns.pop().unwrap_or_default();
        if !name.is_empty() && returned != Value::default() {
            self.names.assign(&format!("{name}()"), returned);
        }
    }

    pub(super) fn read_return(&mut self, value: &Expression) {
        let value = self.fold(value, FOLD_DEPTH);
        if let Some(returned) = self.returns.last_mut() {
            if weight(&value.text) >= weight(&returned.text) {
                (returned.text, returned.number, returned.many) = (value.text, value.number, value.many);
            }
            returned.takes_calls(value.calls);
        }
    }
}
