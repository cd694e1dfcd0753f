//! What rules look at: what a program calls, imports, names and commands, whatever language it is in.

use crate::place::weight;
use std::collections::HashMap;

/// Before a path among the calls of a value: the value is made of what this file holds, or of what is found there.
pub const READ: char = '<';
/// The text of a value that is the file of the program itself.
pub const OWN_FILE: &str = "__file__";
/// Among the calls of a value that was put together from literals, where it could have been written.
pub const PIECES: &str = "+";
/// Among the calls of a value that is another one in each round of a loop.
pub const EACH: &str = "each";
/// Among the calls of a value that came over the network, to a function that waits for it.
pub const RECEIVED: &str = "received";
/// Among the calls of a value that an encoding for the way was done to.
pub const ENCODED: &str = "encoded";
/// Stands in a folded text for a part that only a run would know.
pub const UNKNOWN: char = '\u{fffd}';
/// How deep an expression is folded; what lies deeper is unknown. Keeps the work linear.
pub const FOLD_DEPTH: usize = 12;
/// Longest text that is kept of one value.
const TEXT_BYTES_MAX: usize = 4096;
/// Most names of calls that are kept of one value.
const CALLS_MAX: usize = 32;

/// What can be said of an expression without running it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Value {
    /// Its text, with [`UNKNOWN`] for parts that are not known. Paths are joined with `/`, the home directory is `~`.
    pub text: String,
    /// Its number.
    pub number: Option<f64>,
    /// Whether it is a list of what stands in the program; its text has them all, with blanks between.
    pub many: bool,
    /// The calls whose results it is made of, also by way of variables.
    pub calls: Vec<String>,
}

impl Value {
    /// A value of known text.
    pub fn text(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        Self { text, ..Self::default() }
    }

    /// A value that nothing is known of.
    pub fn unknown() -> Self {
        Self::text(UNKNOWN)
    }

    /// This and another as one, with `between`.
    pub fn join(mut self, other: Value, between: &str) -> Self {
        let calls = std::mem::take(&mut self.calls);
        let mut joined = Self::text(self.text + between + &other.text);
        joined.many = self.many;
        joined.calls = calls;
        joined.takes_calls(other.calls);
        joined
    }

    /// This as what a loop takes one of: only a run knows which.
    pub fn each(self) -> Self {
        // Of what stands there for each round, the gravest stands for all.
        let gravest = self.text.split(' ').filter(|_| self.many).max_by_key(|text| weight(text));
        let mut one = gravest.map_or_else(Self::unknown, Self::text);
        one.takes_calls(self.calls);
        one.takes_calls([EACH.to_owned()]);
        one
    }

    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter_map(|from| from.strip_prefix(READ))
    }

    /// Whether it is made of the result of one of these calls.
    pub fn is_of(&self, calls: &[&str]) -> bool {
        self.calls.iter().any(|from| calls.contains(&from.as_str()))
    }

    /// Adds calls that it is made of.
    pub fn takes_calls(&mut self, calls: impl IntoIterator<Item = String>) {
        let room = CALLS_MAX.saturating_sub(self.calls.len());
        self.calls.extend(calls.into_iter().take(room));
    }
}

/// The loop that something is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Around {
    /// None.
    #[default]
    Nothing,
    /// One that ends by itself, as far as can be seen.
    Loop,
    /// One whose condition is always true.
    Endless,
}

/// One call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// What is called, with names resolved: `os.system`, `pathlib.Path().unlink`, `?.send` of a value that is not known.
    pub name: String,
    /// The value whose method it is, or unknown.
    pub receiver: Value,
    /// Arguments in order.
    pub args: Vec<Value>,
    /// Arguments by name, and members of objects among the arguments.
    pub named: Vec<(String, Value)>,
    /// Where it begins, in bytes.
    pub at: usize,
    /// The loop around it.
    pub around: Around,
    /// Whether anything is done with its result.
    pub used: bool,
    /// Whether a choice of the program decides if it is reached.
    pub chosen: bool,
    /// The function of the program that it is in.
    pub within: Option<String>,
}

impl Call {
    /// An argument, by its place.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", |value| &value.text)
    }

    /// An argument, by its name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Every argument.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.args.iter().chain(self.named.iter().map(|(_, value)| value))
    }

    /// The last part of the name.
    pub fn method(&self) -> &str {
        last_part(&self.name, b'.')
    }
}

/// One redirection of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// `>`, `>>`, `<`, …
    pub operator: String,
    /// Where to or from.
    pub target: String,
}

/// One simple command of a shell program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Command {
    /// Its words, folded; what wraps another command (`sudo`, `env`, `xargs`) is kept.
    pub words: Vec<String>,
    /// How many of them wrap the command, with their options.
    pub wrappers: usize,
    /// Redirections of it, or of what it is in.
    pub redirects: Vec<Redirect>,
    /// Where it begins, in bytes.
    pub at: usize,
    /// The commands before it in its pipeline, names only.
    pub fed_by: Vec<String>,
    /// The loop around it.
    pub around: Around,
    /// Whether it is started and not waited for.
    pub background: bool,
    /// The function it is in.
    pub function: Option<String>,
    /// Whether that function makes a choice before it.
    pub chosen: bool,
}

impl Command {
    /// The program, without its directory; wrappers such as `sudo` are seen through.
    pub fn program(&self) -> &str {
        self.inner().first().map_or("", |word| last_part(word, b'/'))
    }

    /// The words from the program on, past wrappers and their options.
    pub fn inner(&self) -> &[String] {
        self.words.get(self.wrappers..).unwrap_or_default()
    }

    /// Words after the program that are not options.
    pub fn operands(&self) -> impl Iterator<Item = &str> {
        self.inner().iter().skip(1).map(String::as_str).filter(|word| !word.starts_with('-'))
    }

    /// Whether a short or long option is among the words.
    pub fn has_option(&self, short: char, long: &str) -> bool {
        self.inner().iter().skip(1).any(|word| match word.strip_prefix("--") {
            Some(name) => !long.is_empty() && name.split('=').next() == Some(long),
            None => word.strip_prefix('-').is_some_and(|letters| letters.contains(short)),
        })
    }
}

/// What comes after the last `mark`, a byte of ASCII: the whole if there is none. Texts are short, so a search in steps of words, as the
/// standard library's is, costs more than it saves.
pub fn last_part(text: &str, mark: u8) -> &str {
    text.bytes().rposition(|byte| byte == mark).map_or(text, |at| &text[at + 1..])
}

/// How many words at the begin of a command wrap another one, with their options: 0 if nothing is left to wrap.
pub fn wrappers(words: &[String]) -> usize {
    const WRAPPERS: [&str; 12] = [
        "sudo", "env", "nohup", "exec", "command", "time", "nice", "setsid", "stdbuf", "xargs", "builtin",
        "doas",
    ];
    let mut from = 0;
    while let Some(first) = words.get(from) {
        let name = last_part(first, b'/');
        let next = match name {
            "timeout" if words.len() > from + 2 => from + 2,
            _ if WRAPPERS.contains(&name) && words.len() > from + 1 => from + 1,
            _ => return from,
        };
        let options =
            words[next..].iter().take_while(|word| word.starts_with('-') || word.contains('=')).count();
        if next + options == words.len() {
            return from;
        }
        from = next + options;
    }
    from
}

/// A loop whose condition is always true and that nothing leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endless {
    /// Where it begins, in bytes.
    pub at: usize,
}

/// All that was seen in a program.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Calls.
    pub calls: Vec<Call>,
    /// Modules that are imported, and where.
    pub modules: Vec<(String, usize)>,
    /// Texts that stand in the program, and where.
    pub texts: Vec<(String, usize)>,
    /// Names and attributes that are used, resolved, and where.
    pub names: Vec<(String, usize)>,
    /// Commands of a shell program, or of one that is handed to a shell.
    pub commands: Vec<Command>,
    /// Programs that a shell program hands to an interpreter: its name, the text, and where.
    pub scripts: Vec<(String, String, usize)>,
    /// Loops that never end.
    pub endless: Vec<Endless>,
    /// Functions whose first act is to call themselves.
    pub recursive: Vec<usize>,
    /// Whether the whole could be parsed; else what stands around a mistake may be missing.
    pub parsed: bool,
}

/// Names, and what they stood for outside a function.
pub type Shadowed = Vec<(String, Option<Value>, Option<String>)>;

/// What names stand for, as far as the text says: the last thing that was assigned.
#[derive(Debug, Default)]
pub struct Names {
    values: HashMap<String, Value>,
    aliases: HashMap<String, String>,
}

impl Names {
    /// Says that `name` stands for the thing called `thing`.
    pub fn alias(&mut self, name: &str, thing: impl Into<String>) {
        let thing: String = thing.into();
        if thing.len() <= TEXT_BYTES_MAX {
            self.aliases.insert(name.to_owned(), thing);
        }
    }

    /// Says what a variable holds.
    pub fn assign(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Says that what a variable holds is also made of these calls.
    pub fn extend(&mut self, name: &str, calls: Vec<String>) {
        if !calls.is_empty() {
            self.values.entry(name.to_owned()).or_insert_with(Value::unknown).takes_calls(calls);
        }
    }

    /// What a name stands for: itself if nothing else is known.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// Has names stand for parameters; returns what they stood for.
    pub fn shadow(&mut self, names: &[String], values: Vec<Value>) -> Shadowed {
        let before = |own: &mut Self, (name, value): (&String, Value)| {
            (name.clone(), own.values.insert(name.clone(), value), own.aliases.remove(name))
        };
        names.iter().zip(values).map(|pair| before(self, pair)).collect()
    }

    /// Has names stand for what they stood for before.
    pub fn restore(&mut self, shadowed: Shadowed) {
        for (name, value, alias) in shadowed {
            match value {
                Some(value) => self.values.insert(name.clone(), value),
                None => self.values.remove(&name),
            };
            alias.into_iter().for_each(|alias| {
                self.aliases.insert(name.clone(), alias);
            });
        }
    }

    /// What something holds, if it was said.
    pub fn known(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// What a variable holds.
    pub fn value(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or_else(Value::unknown)
    }
}

/// Calls after which a loop is not idle, or by which it is left, given so many arguments: they wait for somebody, or end the program.
pub fn leaves(name: &str, arguments: usize) -> bool {
    const LAST: [&str; 28] = [
        "sleep",
        "input",
        "exit",
        "quit",
        "_exit",
        "abort",
        "accept",
        "recv",
        "recvfrom",
        "readline",
        "wait",
        "tick",
        "select",
        "poll",
        "next",
        "__next__",
        "throw",
        "question",
        "prompt",
        "fail",
        "popleft",
        "get_nowait",
        "pause",
        "sleepSync",
        "read",
        "setTimeout",
        "run_pending",
        "acquire",
    ];
    let last = last_part(name, b'.');
    match last {
        // Of a text or a table, these wait for nobody.
        "join" | "update" => arguments == 0 && !name.ends_with("path.join"),
        "get" => arguments == 0 || !name.starts_with('?') && !name.starts_with("self."),
        last => LAST.contains(&last),
    }
}
