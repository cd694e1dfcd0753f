//! What can be said of a Python expression without running it: its name, its text, what it is made of.

use super::Reader;
use crate::decode;
use crate::facts::{ENCODED, OWN_FILE, PIECES, READ, UNKNOWN, Value};
use crate::parameters::is_marked;
use crate::place::weight;
use ruff_python_ast::{self as ast, Expr, InterpolatedStringElement, Number, Operator};

/// One of two values: the graver text, and what either is made of.
fn either(one: Value, other: Value) -> Value {
    let (mut taken, left) = if weight(&other.text) > weight(&one.text) { (other, one) } else { (one, other) };
    taken.takes_calls(left.calls);
    taken
}

/// What of a module is known by its bare name after `import *`.
pub(super) fn members(module: &str) -> &'static [&'static str] {
    match module {
        "os" => &[
            "system", "popen", "fork", "remove", "unlink", "walk", "listdir", "environ", "kill", "path",
            "dup2",
        ],
        "subprocess" => &["run", "call", "Popen", "check_output", "check_call", "getoutput"],
        "ctypes" => &["CDLL", "cdll", "CFUNCTYPE", "memmove", "windll", "WinDLL", "PyDLL"],
        "socket" => &["socket", "create_connection", "gethostbyname"],
        "shutil" => &["rmtree", "copy", "move", "copyfile"],
        "multiprocessing" => &["Process", "Pool"],
        "threading" => &["Thread"],
        "base64" => &["b64decode", "b85decode", "b32decode", "b64encode"],
        "pathlib" => &["Path"],
        "urllib.request" => &["urlopen", "urlretrieve", "Request"],
        _ => &[],
    }
}

impl Reader {
    /// The name of what an expression is, if it has one: `os.path.join`, `pathlib.Path().unlink`.
    pub(super) fn dotted(&self, expression: &Expr, depth: usize) -> Option<String> {
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
                    || object.ends_with(".__globals__")
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
    pub(super) fn fold(&self, expression: &Expr, depth: usize) -> Value {
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
            Expr::Name(name) if name.id == OWN_FILE => Value::text(OWN_FILE),
            Expr::Name(name) => self.names.value(&name.id),
            Expr::BooleanLiteral(literal) => Value::text(if literal.value { "True" } else { "False" }),
            Expr::Starred(starred) => self.fold(&starred.value, depth),
            Expr::Lambda(lambda) => self.fold(&lambda.body, depth),
            Expr::If(choice) => either(self.fold(&choice.body, depth), self.fold(&choice.orelse, depth)),
            Expr::BoolOp(operation) => {
                let values = operation.values.iter().take(4).map(|value| self.fold(value, depth));
                values.reduce(either).unwrap_or_default()
            }
            Expr::DictComp(dict) => {
                let mut value = self.fold_made_of(&dict.value, &dict.generators, depth);
                value.takes_calls(dict.key.iter().flat_map(|key| self.fold(key, depth).calls));
                value
            }
            Expr::SetComp(set) => self.fold_made_of(&set.elt, &set.generators, depth),
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
                let joined = parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default();
                Value { number: None, many: true, ..joined }
            }
            Expr::Dict(dict) => {
                let parts = dict.items.iter().take(16).map(|item| self.fold(&item.value, depth));
                let joined = parts.reduce(|text, part| text.join(part, " ")).unwrap_or_default();
                Value { number: None, many: true, ..joined }
            }
            Expr::Call(call) => self.fold_call(call, depth),
            Expr::Attribute(attribute) => {
                let named = self.dotted(expression, depth);
                if let Some(value) = named.as_ref().and_then(|name| self.names.known(name)) {
                    return value.clone();
                }
                let mut value = Value::unknown();
                value.takes_calls(self.fold(&attribute.value, depth).calls);
                if let Some(name) = named {
                    value.takes_calls([name]);
                }
                value
            }
            Expr::Subscript(subscript) => {
                let object = self.dotted(&subscript.value, depth).unwrap_or_default();
                let key = self.fold(&subscript.slice, depth).text;
                if let Some(value) = self.names.known(&format!("{object}.{key}")) {
                    return value.clone();
                }
                if object == "os.environ" && matches!(key.as_str(), "HOME" | "USERPROFILE") {
                    return Value::text("~");
                }
                if object == "sys.argv" && key == "0" {
                    return Value::text(OWN_FILE);
                }
                let whole = if object == "os.environ" {
                    Value::unknown()
                } else {
                    self.fold(&subscript.value, depth)
                };
                // `[::-1]`
                if let Expr::Slice(slice) = &*subscript.slice
                    && slice.step.as_ref().is_some_and(|step| self.fold(step, depth).number == Some(-1.0))
                {
                    let mut value = Value::text(decode::reversed(&whole.text));
                    value.takes_calls(whole.calls);
                    value.takes_calls(["reversed".to_owned()]);
                    return value;
                }
                let index = key.parse::<usize>().ok().filter(|_| whole.many);
                let mut value = match index.and_then(|index| whole.text.split(' ').nth(index)) {
                    Some(text) => Value::text(text),
                    None => Value::unknown(),
                };
                // One variable is not the whole environment.
                if object != "os.environ" {
                    value.takes_calls(whole.calls);
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
            Operator::Add if left.many => {
                let mut joined = left.join(right, " ");
                joined.many = true;
                joined
            }
            Operator::Add => {
                let literal = |side: &Expr| matches!(side, Expr::StringLiteral(_));
                let mut joined = left.join(right, "");
                if literal(&operation.left) && literal(&operation.right) {
                    joined.takes_calls([PIECES.to_owned()]);
                }
                joined
            }
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
            "join" => self.fold_join(&receiver.text, args, depth),
            "joinpath" => parts().fold(receiver, |path, part| path.join(part, "/")),
            "Path" | "PurePath" | "PosixPath" => {
                parts().reduce(|path, part| path.join(part, "/")).unwrap_or_default()
            }
            "expanduser" | "abspath" | "realpath" | "str" | "fspath" | "normpath" | "expandvars"
            | "Request"
                if !args.is_empty() =>
            {
                parts().next().unwrap_or_default()
            }
            "decode" if name == "codecs.decode" => {
                let how = args.get(1).map(|how| self.fold(how, depth).text).unwrap_or_default();
                let value = parts().next().unwrap_or_default();
                match how.as_str() {
                    "hex" => self.decoded(value, decode::hex),
                    "base64" => self.decoded(value, decode::base64),
                    _ => self.decoded(value, |text| Some(decode::rot13(text))),
                }
            }
            // The words of a command.
            "split" if name == "shlex.split" => parts().next().unwrap_or_default(),
            "split" if args.is_empty() => receiver,
            "expanduser" | "resolve" | "absolute" | "encode" | "strip" | "lower" | "as_posix" | "decode" => {
                receiver
            }
            "list" | "tuple" | "set" | "sorted" | "reversed" | "iter" | "zip" | "enumerate"
                if !args.is_empty() =>
            {
                parts().next().unwrap_or_default()
            }
            "values" | "items" if receiver.many => receiver,
            "getcwd" | "cwd" if args.is_empty() => Value::text("."),
            "b64decode" | "urlsafe_b64decode" | "standard_b64decode" | "decodebytes" | "a2b_base64" => {
                self.decoded(parts().next().unwrap_or_default(), decode::base64)
            }
            "fromhex" | "unhexlify" | "a2b_hex" => {
                self.decoded(parts().next().unwrap_or_default(), decode::hex)
            }
            "bytes" | "bytearray" if args.len() == 1 => {
                let value = parts().next().unwrap_or_default();
                if value.many { self.decoded(value, decode::characters) } else { value }
            }
            "map" if args.len() == 2 => {
                let value = parts().nth(1).unwrap_or_default();
                let function = self.dotted(&args[0], depth).unwrap_or_default();
                let mut value = match function.as_str() {
                    "chr" => self.decoded(value, decode::characters),
                    _ => Value { calls: value.calls, ..Value::unknown() },
                };
                value.takes_calls([function]);
                value
            }
            "chr" => {
                let value = parts().next().unwrap_or_default();
                self.decoded(value, decode::characters)
            }
            "replace" if args.len() == 2 => {
                let both: Vec<Value> = parts().collect();
                let receiver_is_known = !receiver.text.contains(UNKNOWN) && !is_marked(&receiver.text);
                let mut value = Value::text(receiver.text.replace(&both[0].text, &both[1].text));
                value.takes_calls(receiver.calls);
                // What is only taken out of a text that stands there was put in to hide it.
                if both[1].text.is_empty() && receiver_is_known {
                    value.takes_calls(["replace".to_owned()]);
                }
                value
            }
            "b64encode" | "b32encode" | "b16encode" | "hexlify" | "urlsafe_b64encode" | "hex" => {
                let mut value = Value::unknown();
                value.takes_calls(receiver.calls);
                parts().for_each(|part| value.takes_calls(part.calls));
                value.takes_calls([ENCODED.to_owned()]);
                value
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
                // Of a function of the program, what it returns.
                let own = name.strip_prefix("self.").unwrap_or(&name);
                let mut value = match self.names.known(&format!("{own}()")) {
                    Some(value) => value.clone(),
                    None => Value::unknown(),
                };
                if matches!(last, "getenv" | "get") && args.len() == 2 {
                    value = Value { calls: Vec::new(), ..self.fold(&args[1], depth) };
                }
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
        if matches!(
            name.as_str(),
            "open"
                | "io.open"
                | "builtins.open"
                | "os.walk"
                | "os.listdir"
                | "os.scandir"
                | "glob.glob"
                | "glob.iglob"
        ) {
            value.takes_calls([format!("{READ}{}", parts().next().unwrap_or_default().text)]);
        } else if matches!(last, "read_text" | "read_bytes" | "rglob" | "glob" | "iterdir") {
            let path = match &*call.func {
                Expr::Attribute(attribute) => self.fold(&attribute.value, depth),
                _ => Value::unknown(),
            };
            let pattern = parts().next().unwrap_or_default().text;
            let path = if pattern.is_empty() { path.text } else { format!("{}/{pattern}", path.text) };
            value.takes_calls([format!("{READ}{path}")]);
        }
        value.takes_calls([name]);
        value
    }

    /// What an encoded literal says; what it is made of stays.
    fn decoded(&self, value: Value, how: impl Fn(&str) -> Option<String>) -> Value {
        let text = Some(value.text).filter(|text| !text.contains(UNKNOWN)).and_then(|text| how(&text));
        let mut decoded = text.map_or_else(Value::unknown, Value::text);
        decoded.takes_calls(value.calls);
        decoded
    }

    /// The pieces of a literal list with what stands between them, or what any other argument is made of.
    fn fold_join(&self, between: &str, args: &[Expr], depth: usize) -> Value {
        match args.first() {
            Some(Expr::List(list)) => {
                let parts = list.elts.iter().take(64).map(|element| self.fold(element, depth));
                parts.reduce(|text, part| text.join(part, between)).unwrap_or_default()
            }
            Some(other) => {
                let mut all = self.fold(other, depth);
                if all.many && !all.text.contains(UNKNOWN) && !is_marked(&all.text) {
                    all.text = all.text.replace(' ', between);
                    if between.is_empty() {
                        all.takes_calls([PIECES.to_owned()]);
                    }
                }
                all.many = false;
                all
            }
            None => Value::default(),
        }
    }
}
