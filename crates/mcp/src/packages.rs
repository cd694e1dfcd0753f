//! `list_packages`: what code can use, as a fresh sandbox of the template itself tells it.

use crate::answer::{of_run, structured};
use crate::api::{Refusal, object};
use crate::arguments::{Language, ListPackages};
use crate::handler::Call;
use model::Outcome;
use rmcp::model::CallToolResult;
use serde_json::{Value, json};

/// Prints one JSON object: the interpreter's version and names with versions. Distributions may be there twice on the path; the first
/// is the one that is imported.
const PYTHON: &str = "\
import importlib.metadata, json, platform
found = {}
for one in importlib.metadata.distributions():
    found.setdefault(one.metadata['Name'], one.version)
print(json.dumps({'version': platform.python_version(), 'packages': dict(sorted(found.items(), key=lambda row: str(row[0]).lower()))}))
";
/// The same for Node, whose modules have no versions of their own.
const NODE: &str = "\
const found = Object.fromEntries(require('node:module').builtinModules.filter((name) => !name.startsWith('_')).map((name) => [name, null]));
console.log(JSON.stringify({version: process.versions.node, packages: found}));
";
/// The same for the shell: commands on `PATH`.
const BASH: &str = r#"
printf '{"version":"%s","packages":{' "${BASH_VERSION%%(*}"
compgen -c | sort -u | grep -E '^[A-Za-z0-9._+-]+$' | sed 's/.*/"&":null/' | paste -sd, | tr -d '\n'
printf '}}\n'
"#;
/// Enough for the names of a whole image.
const OUTPUT_BYTES: u64 = 512 << 10;

impl Call {
    /// `list_packages`.
    pub async fn list_packages(
        &self,
        ListPackages { language, template }: ListPackages,
    ) -> Result<CallToolResult, Refusal> {
        let (run_in, code) = match language {
            Language::Python => (Language::Python, PYTHON),
            Language::JavaScript | Language::TypeScript => (Language::JavaScript, NODE),
            Language::Bash => (Language::Bash, BASH),
            _ => return Err(Refusal::new("a language that is compiled, or declared, has no packages here")),
        };
        let request = object(&[
            ("language", json!(run_in)),
            ("template", json!(template)),
            ("code", json!(code)),
            ("limits", json!({"output_bytes": OUTPUT_BYTES})),
        ]);
        let run = self.follow("/v1/runs", &request).await?;
        let listed: Option<Value> = serde_json::from_str(&run.stdout).ok();
        let Some(listed) = listed.filter(|_| run.outcome == Some(Outcome::Completed)) else {
            return Ok(of_run(&run, false));
        };
        let version = listed["version"].as_str().unwrap_or("?");
        let lines = listed["packages"].as_object().into_iter().flatten().map(|(name, version)| match version
            .as_str()
        {
            Some(version) => format!("{name} {version}"),
            None => name.clone(),
        });
        let bare = listed["packages"].as_object().is_none_or(serde_json::Map::is_empty);
        let rest = bare.then(|| "[nothing but its standard library]".to_owned());
        let text = [format!("{} {version}", json!(language).as_str().unwrap_or_default())]
            .into_iter()
            .chain(lines)
            .chain(rest);
        let value = json!({"language": language, "version": version, "packages": listed["packages"]});
        Ok(structured(text.collect::<Vec<_>>().join("\n"), value))
    }
}
