//! The languages a run may be written in, and the names people give them.

use crate::Rejection;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A language that fireclay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Language {
    /// CPython of the image.
    Python,
    /// GNU bash of the image.
    Bash,
    /// Node of the image.
    JavaScript,
    /// Node of the image, after the types are stripped.
    TypeScript,
    /// C, compiled; this and those that follow are declared by a template (docs/languages.md).
    C,
    /// C++, compiled.
    Cpp,
    /// Rust, compiled.
    Rust,
    /// Go, compiled.
    Go,
    /// Java, compiled, run by its virtual machine.
    Java,
    /// Ruby.
    Ruby,
    /// Perl.
    Perl,
    /// PHP.
    Php,
    /// R.
    R,
}

/// One language with all that people call it.
struct Row {
    language: Language,
    name: &'static str,
    aliases: &'static [&'static str],
    extensions: &'static [&'static str],
    /// The last path component of an interpreter in a `#!` line, without version digits.
    shebangs: &'static [&'static str],
    file: &'static str,
    template: &'static str,
}

const TABLE: [Row; 13] = [
    Row {
        language: Language::Python,
        name: "python",
        aliases: &["py", "python3"],
        extensions: &["py", "pyw"],
        shebangs: &["python"],
        file: "main.py",
        template: "python",
    },
    Row {
        language: Language::Bash,
        name: "bash",
        aliases: &["sh", "shell"],
        extensions: &["sh", "bash"],
        shebangs: &["bash", "sh", "dash"],
        file: "main.sh",
        template: "bash",
    },
    Row {
        language: Language::JavaScript,
        name: "javascript",
        aliases: &["js", "node"],
        extensions: &["js", "mjs", "cjs"],
        shebangs: &["node", "nodejs"],
        file: "main.js",
        template: "node",
    },
    Row {
        language: Language::TypeScript,
        name: "typescript",
        aliases: &["ts"],
        extensions: &["ts", "mts", "cts"],
        shebangs: &["ts-node", "tsx", "deno", "bun"],
        file: "main.ts",
        template: "typescript",
    },
    Row {
        language: Language::C,
        name: "c",
        aliases: &[],
        extensions: &["c"],
        shebangs: &["tcc"],
        file: "main.c",
        template: "c",
    },
    Row {
        language: Language::Cpp,
        name: "cpp",
        aliases: &["c++", "cxx", "cc"],
        extensions: &["cpp", "cc", "cxx", "c++"],
        shebangs: &[],
        file: "main.cpp",
        template: "cpp",
    },
    Row {
        language: Language::Rust,
        name: "rust",
        aliases: &["rs"],
        extensions: &["rs"],
        shebangs: &["rust-script"],
        file: "main.rs",
        template: "rust",
    },
    Row {
        language: Language::Go,
        name: "go",
        aliases: &["golang"],
        extensions: &["go"],
        shebangs: &[],
        file: "main.go",
        template: "go",
    },
    Row {
        language: Language::Java,
        name: "java",
        aliases: &[],
        extensions: &["java"],
        shebangs: &["java"],
        file: "Main.java",
        template: "java",
    },
    Row {
        language: Language::Ruby,
        name: "ruby",
        aliases: &["rb"],
        extensions: &["rb"],
        shebangs: &["ruby"],
        file: "main.rb",
        template: "ruby",
    },
    Row {
        language: Language::Perl,
        name: "perl",
        aliases: &["pl"],
        extensions: &["pl", "pm"],
        shebangs: &["perl"],
        file: "main.pl",
        template: "perl",
    },
    Row {
        language: Language::Php,
        name: "php",
        aliases: &[],
        extensions: &["php"],
        shebangs: &["php"],
        file: "main.php",
        template: "php",
    },
    Row {
        language: Language::R,
        name: "r",
        aliases: &["rscript"],
        extensions: &["r"],
        shebangs: &["Rscript", "R"],
        file: "main.R",
        template: "r",
    },
];

impl Row {
    fn called(&self) -> String {
        match self.aliases {
            [] => self.name.to_owned(),
            aliases => format!("{} ({})", self.name, aliases.join(", ")),
        }
    }
}

impl Language {
    /// Every language, in the order they are documented.
    pub const ALL: [Language; 13] = [
        Self::Python,
        Self::Bash,
        Self::JavaScript,
        Self::TypeScript,
        Self::C,
        Self::Cpp,
        Self::Rust,
        Self::Go,
        Self::Java,
        Self::Ruby,
        Self::Perl,
        Self::Php,
        Self::R,
    ];

    /// Whether a template says how it is compiled and run, and no runner of fireclay's does: it has no result but its output, no
    /// packages, and no interpreter that stays in a session.
    pub fn is_declared(self) -> bool {
        !matches!(self, Self::Python | Self::Bash | Self::JavaScript | Self::TypeScript)
    }

    /// The canonical name, as results carry it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Other accepted spellings, in lower case.
    pub fn aliases(self) -> &'static [&'static str] {
        self.row().aliases
    }

    /// The name that code without a file gets inside the sandbox.
    pub fn default_file(self) -> &'static str {
        self.row().file
    }

    /// The name of the template that its runs are made from when they name none.
    pub fn default_template(self) -> &'static str {
        self.row().template
    }

    /// The language a file name's extension stands for.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        TABLE.iter().find(|row| row.extensions.contains(&extension.as_str())).map(|row| row.language)
    }

    /// The language that a first line `#!…` stands for.
    pub fn of_shebang(code: &str) -> Option<Self> {
        let line = code.strip_prefix("#!")?.lines().next()?;
        let mut words = line.split_whitespace().filter(|word| !word.starts_with('-'));
        let mut program = words.next()?.rsplit('/').next()?;
        if program == "env" {
            program = words.find(|word| !word.contains('='))?.rsplit('/').next()?;
        }
        let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        TABLE.iter().find(|row| row.shebangs.contains(&program)).map(|row| row.language)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Language {
    type Err = Rejection;

    /// Accepts names and aliases in any case.
    fn from_str(text: &str) -> Result<Self, Rejection> {
        let wanted = text.trim().to_ascii_lowercase();
        let found = TABLE.iter().find(|row| row.name == wanted || row.aliases.contains(&wanted.as_str()));
        found.map(|row| row.language).ok_or_else(|| {
            let names: Vec<String> = TABLE.iter().map(Row::called).collect();
            Rejection::new(
                "language",
                format!("unknown language {text:?}"),
                format!("use one of: {}", names.join(", ")),
            )
        })
    }
}

impl TryFrom<String> for Language {
    type Error = Rejection;

    fn try_from(text: String) -> Result<Self, Rejection> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for language in Language::ALL {
            assert_eq!(language.row().language, language);
            assert_eq!(language.name().parse::<Language>().unwrap(), language);
        }
    }

    #[test]
    fn aliases_are_case_insensitive() {
        for (text, language) in [
            ("PY", Language::Python),
            ("Python3", Language::Python),
            ("sh", Language::Bash),
            ("Shell", Language::Bash),
            ("node", Language::JavaScript),
            (" js ", Language::JavaScript),
            ("TS", Language::TypeScript),
        ] {
            assert_eq!(text.parse::<Language>().unwrap(), language, "{text}");
        }
    }

    #[test]
    fn an_unknown_language_is_rejected_with_the_names() {
        let rejection = "cobol".parse::<Language>().unwrap_err();
        insta::assert_snapshot!(rejection, @r#"language: unknown language "cobol"; use one of: python (py, python3), bash (sh, shell), javascript (js, node), typescript (ts), c, cpp (c++, cxx, cc), rust (rs), go (golang), java, ruby (rb), perl (pl), php, r (rscript)"#);
    }

    #[test]
    fn shebangs_name_a_language() {
        for (code, language) in [
            ("#!/usr/bin/env python3\n", Some(Language::Python)),
            ("#!/usr/bin/python3.11 -u\nx", Some(Language::Python)),
            ("#!/usr/bin/env -S FOO=1 node --no-warnings\n", Some(Language::JavaScript)),
            ("#!/bin/sh\n", Some(Language::Bash)),
            ("#!/usr/bin/perl -w\n", Some(Language::Perl)),
            ("#!/usr/bin/awk -f\n", None),
            ("print(1)", None),
            ("#!", None),
        ] {
            assert_eq!(Language::of_shebang(code), language, "{code}");
        }
    }

    #[test]
    fn extensions_name_a_language() {
        assert_eq!(Language::of_file_name("a/b.PY"), Some(Language::Python));
        assert_eq!(Language::of_file_name("x.mjs"), Some(Language::JavaScript));
        assert_eq!(Language::of_file_name("x.mts"), Some(Language::TypeScript));
        assert_eq!(Language::of_file_name("Makefile"), None);
    }
}
