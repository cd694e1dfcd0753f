//! What one line of a batch says: a run, a graded program, or a group of programs with the same cases.

use super::compare::Compare;
use super::{CASES_MAX, EVALUATIONS_MAX, PROGRAMS_MAX};
use crate::http::body;
use crate::problem::{Kind, Problem};
use model::{InputFile, Language, LimitsPatch, RunRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// Longest `id` of an item or a case, in bytes.
const ID_BYTES_MAX: usize = 256;

/// One line, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The client's own name for it.
    pub id: Option<String>,
    /// What is asked.
    pub asked: Asked,
}

/// What an item asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// One run, told as it is.
    Run(Box<RunRequest>),
    /// One program and its cases.
    Program(Box<Grading>),
    /// Some programs, each with the same cases.
    Group(Box<Grading>),
}

/// Programs, cases, and how they are judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grading {
    /// One, or the samples of a group.
    pub programs: Vec<RunRequest>,
    /// What each is tried with.
    pub cases: Vec<Case>,
    /// How output is compared.
    pub compare: Compare,
    /// What judges in place of the comparison.
    pub checker: Option<Checker>,
    /// Whether the cases after the first that is not passed are left out.
    pub stop_at_first_failure: bool,
    /// The k of pass@k.
    pub k: Vec<usize>,
}

/// One test: exactly one of `expected`, `append` and `pytest`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// The client's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the program reads; absent is what its request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// What it should print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Code of the program's language that is run after it, in the same process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// A test file that imports the program by its file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pytest: Option<String>,
    /// Limits of this case, before those of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsPatch>,
    /// Files that the workspace has besides the program's. The program can read them.
    #[schema(value_type = Vec<model::request::InputFileSaid>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
}

/// A program that judges another's output in a sandbox of its own: exit code 0 is passed, 1 is wrong, all else is a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checker {
    /// Its language.
    pub language: Language,
    /// Its text. It finds `output.txt`, `input.txt` and `expected.txt` in its working directory.
    pub code: String,
    /// How much it may use.
    #[serde(default)]
    pub limits: LimitsPatch,
}

/// How a graded program or a group is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GradingSaid {
    /// The program of a graded program.
    program: Option<RunRequest>,
    /// The programs of a group.
    programs: Option<Vec<RunRequest>>,
    /// At least one.
    #[schema(min_items = 1)]
    cases: Vec<Case>,
    /// `exact`, `trim`, `tokens` or `float:EPS`.
    #[serde(default)]
    #[schema(value_type = String, default = "trim", pattern = "^(exact|trim|tokens|float:.+)$")]
    compare: Compare,
    /// What judges in place of the comparison.
    checker: Option<Checker>,
    /// Whether the cases after the first that is not passed are left out.
    #[serde(default)]
    stop_at_first_failure: bool,
    /// The k of pass@k, each at most the number of programs; absent is 1, 5, 10 and 100 as far as there are programs.
    k: Option<Vec<usize>>,
}

impl Item {
    /// Reads a line, or says what is wrong with it; then with its `id`, if that could be read.
    pub fn parse(line: &[u8]) -> Result<Self, (Option<String>, Problem)> {
        let mut fields: Map<String, Value> = body::parse(line).map_err(|problem| (None, problem))?;
        let id = match fields.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.len() <= ID_BYTES_MAX => Some(id),
            Some(_) => {
                let hint = format!("use a string of at most {ID_BYTES_MAX} bytes, or leave it out");
                return Err((None, invalid("id", "the id cannot be used", hint)));
            }
        };
        match asked(fields) {
            Ok(asked) => Ok(Self { id, asked }),
            Err(problem) => Err((id, problem)),
        }
    }

    /// What two items have in common when they ask for the same: a hash over all but the `id`.
    pub fn digest(&self) -> [u8; 32] {
        let text = serde_json::to_vec(&self.asked).expect("what was JSON becomes JSON");
        Sha256::digest(text).into()
    }
}

fn invalid(field: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail, hint).of_field(field)
}

fn asked(fields: Map<String, Value>) -> Result<Asked, Problem> {
    let graded = ["program", "programs", "cases"].iter().any(|name| fields.contains_key(*name));
    // Written again without its id: the parser that names fields reads text.
    let text = serde_json::to_vec(&fields).expect("what was JSON becomes JSON");
    drop(fields);
    if !graded {
        return Ok(Asked::Run(Box::new(body::parse(&text)?)));
    }
    let GradingSaid { program, programs, cases, compare, checker, stop_at_first_failure, k } =
        body::parse(&text)?;
    let group = programs.is_some();
    let programs = match (program, programs) {
        (Some(program), None) => vec![program],
        (None, Some(programs)) => programs,
        _ => {
            return Err(invalid(
                "program",
                "there is not one of `program` and `programs`",
                "give exactly one of them",
            ));
        }
    };
    let k = ks(k, group, programs.len())?;
    let grading = Grading { programs, cases, compare, checker, stop_at_first_failure, k };
    check(&grading)?;
    Ok(if group { Asked::Group(Box::new(grading)) } else { Asked::Program(Box::new(grading)) })
}

fn ks(said: Option<Vec<usize>>, group: bool, programs: usize) -> Result<Vec<usize>, Problem> {
    match said {
        Some(_) if !group => Err(invalid("k", "pass@k is of a group", "give `programs`, or leave `k` out")),
        Some(said) if said.len() > 16 || said.iter().any(|k| !(1..=programs).contains(k)) => Err(invalid(
            "k",
            "there is no such pass@k",
            format!("use at most 16 numbers from 1 to {programs}"),
        )),
        Some(said) => Ok(said),
        None => Ok([1, 5, 10, 100].into_iter().filter(|k| group && *k <= programs).collect()),
    }
}

fn check(grading: &Grading) -> Result<(), Problem> {
    let (programs, cases) = (grading.programs.len(), grading.cases.len());
    if !(1..=PROGRAMS_MAX).contains(&programs) {
        return Err(invalid("programs", format!("{programs} programs"), format!("use 1 to {PROGRAMS_MAX}")));
    }
    if !(1..=CASES_MAX).contains(&cases) {
        return Err(invalid("cases", format!("{cases} cases"), format!("use 1 to {CASES_MAX}")));
    }
    if programs * cases > EVALUATIONS_MAX {
        let detail = format!("{programs} programs times {cases} cases");
        return Err(invalid(
            "cases",
            detail,
            format!("at most {EVALUATIONS_MAX} runs for one item; make more items"),
        ));
    }
    for (index, case) in grading.cases.iter().enumerate() {
        check_case(grading, index, case)?;
    }
    Ok(())
}

fn check_case(grading: &Grading, index: usize, case: &Case) -> Result<(), Problem> {
    let field = |name: &str| format!("cases[{index}].{name}");
    let inside = case.append.is_some() || case.pytest.is_some();
    let ways = [case.append.is_some(), case.pytest.is_some(), case.expected.is_some()];
    let ways = ways.into_iter().filter(|way| *way).count();
    // A checker may know by itself what is right.
    if ways > 1 || ways == 0 && grading.checker.is_none() {
        let hint = "give exactly one of `expected`, `append` and `pytest`; with a checker `expected` may be left out";
        return Err(invalid(field("expected"), "the case does not say one way to be judged", hint));
    }
    if inside && grading.checker.is_some() {
        let hint = "a checker reads output: use it with `stdin` and `expected`";
        return Err(invalid(
            field(if case.append.is_some() { "append" } else { "pytest" }),
            "the case has its own tests, and there is a checker",
            hint,
        ));
    }
    if case.id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err(invalid(field("id"), "the id is too long", format!("at most {ID_BYTES_MAX} bytes")));
    }
    if case.pytest.is_some()
        && let Some(at) =
            grading.programs.iter().position(|program| language_of(program) != Some(Language::Python))
    {
        let detail = format!("program {at} is not known to be Python, and pytest tests nothing else");
        return Err(invalid(field("pytest"), detail, "name the program's `language`, or use `append`"));
    }
    Ok(())
}

/// The language of a program as admission will find it.
pub fn language_of(program: &RunRequest) -> Option<Language> {
    let by_name = || program.file_name.as_deref().and_then(Language::of_file_name);
    program.language.or_else(by_name).or_else(|| Language::of_shebang(&program.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        let (id, problem) = Item::parse(line.as_bytes()).unwrap_err();
        let problem = serde_json::to_value(&problem).unwrap();
        let detail = problem["detail"].as_str().unwrap_or_default();
        format!("{} {} {detail}", id.unwrap_or_default(), problem["field"])
    }

    #[test]
    fn a_line_is_one_of_three_kinds() {
        let parse = |line: &str| Item::parse(line.as_bytes()).unwrap();
        let run = parse(r#"{"id":"a","language":"py","code":"1"}"#);
        assert_eq!(run.id.as_deref(), Some("a"));
        assert!(matches!(run.asked, Asked::Run(_)));
        let program = parse(r#"{"program":{"code":""},"cases":[{"expected":""}]}"#);
        let Asked::Program(grading) = program.asked else { panic!() };
        assert_eq!((grading.compare, grading.k.len()), (Compare::Trim, 0));
        let group = parse(r#"{"programs":[{},{},{},{},{}],"cases":[{"append":"x"}],"compare":"float:0.5"}"#);
        let Asked::Group(grading) = group.asked else { panic!() };
        assert_eq!((grading.compare, grading.k), (Compare::Float(0.5), vec![1, 5]));
    }

    #[test]
    fn mistakes_name_the_field() {
        insta::assert_snapshot!(wrong("["), @" null invalid type: sequence, expected an object at line 1 column 0");
        insta::assert_snapshot!(wrong(r#"{"id":7}"#), @r#" "id" the id cannot be used"#);
        insta::assert_snapshot!(wrong(r#"{"id":"a","cod":""}"#), @r#"a "cod" unknown field `cod`, expected one of `language`, `template`, `code`, `file_name`, `stdin`, `args`, `env`, `cwd`, `files`, `packages`, `auto_packages`, `offline`, `python`, `runtime`, `egress`, `limits`, `check`, `check_policy`, `check_rules`, `review`, `repeatable`, `metadata` at line 1 column 6"#);
        insta::assert_snapshot!(wrong(r#"{"cases":[{"expected":""}]}"#), @r#" "program" there is not one of `program` and `programs`"#);
        insta::assert_snapshot!(wrong(r#"{"program":{},"cases":[]}"#), @r#" "cases" 0 cases"#);
        insta::assert_snapshot!(wrong(r#"{"program":{},"cases":[{"stdin":""}]}"#), @r#" "cases[0].expected" the case does not say one way to be judged"#);
        insta::assert_snapshot!(wrong(r#"{"program":{},"cases":[{"append":"","expected":""}]}"#), @r#" "cases[0].expected" the case does not say one way to be judged"#);
        insta::assert_snapshot!(wrong(r#"{"program":{"language":"js"},"cases":[{"pytest":""}]}"#), @r#" "cases[0].pytest" program 0 is not known to be Python, and pytest tests nothing else"#);
        insta::assert_snapshot!(wrong(r#"{"program":{},"cases":[{"expect":""}]}"#), @r#" "cases[0].expect" unknown field `expect`, expected one of `id`, `stdin`, `expected`, `append`, `pytest`, `limits`, `files` at line 1 column 32"#);
        insta::assert_snapshot!(wrong(r#"{"programs":[{}],"cases":[{"expected":""}],"k":[2]}"#), @r#" "k" there is no such pass@k"#);
        insta::assert_snapshot!(wrong(r#"{"program":{},"cases":[{"expected":""}],"compare":"about"}"#), @r#" "compare" unknown comparison "about": use exact, trim, tokens or float:EPS, as in float:1e-6 at line 1 column 58"#);
    }

    #[test]
    fn the_same_request_has_the_same_digest_however_it_is_written() {
        let digest = |line: &str| Item::parse(line.as_bytes()).unwrap().digest();
        let one = digest(r#"{"id":"a","language":"py","code":"1"}"#);
        assert_eq!(one, digest(r#"{ "code":"\u0031", "id":"b", "language":"Python3", "args":[] }"#));
        assert_ne!(one, digest(r#"{"language":"py","code":"2"}"#));
        assert_ne!(one, digest(r#"{"program":{"language":"py","code":"1"},"cases":[{"expected":""}]}"#));
    }
}
