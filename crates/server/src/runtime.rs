//! `runtime` of a request: a language and its version in one word, as `python3.13` or `node20`.

use model::{Language, Rejection, RunRequest};

/// Says `language` and `python` of a request in place of its `runtime`; `node` is the version of the machine's Node.
pub fn resolve(request: &mut RunRequest, node: Option<&str>) -> Result<(), Rejection> {
    let Some(said) = request.runtime.take() else { return Ok(()) };
    let digits = said.find(|letter: char| letter.is_ascii_digit()).unwrap_or(said.len());
    let (name, version) = said.split_at(digits);
    let name = name.trim_end_matches(['@', ':', '-', '=', ' ']);
    let rejected = |message: String, hint: &str| Err(Rejection::new("runtime", message, hint));
    let language = match name {
        "python" => Language::Python,
        "node" | "nodejs" => Language::JavaScript,
        _ => {
            return rejected(
                format!("there is no runtime {name:?}"),
                "write python3.13, or node and its version",
            );
        }
    };
    let fits = match request.language {
        None => true,
        Some(Language::TypeScript) => language == Language::JavaScript,
        Some(other) => other == language,
    };
    if !fits {
        return rejected(format!("{said} does not run it"), "leave one out of `runtime` and `language`");
    }
    request.language.get_or_insert(language);
    if language == Language::Python {
        if !version.is_empty() && *request.python.get_or_insert_with(|| version.to_owned()) != version {
            return rejected(format!("{said} is not what `python` says"), "leave one out");
        }
        return Ok(());
    }
    let present = node.unwrap_or("none");
    let parts = |version: &str| -> Vec<String> {
        version.trim_start_matches('v').split('.').map(str::to_owned).collect()
    };
    if !version.is_empty() && !parts(present).starts_with(&parts(version)) {
        return rejected(
            format!("Node {version} is wanted, and Node {present} is here"),
            "allow that one, or use a service with another Node",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(runtime: &str, language: Option<Language>) -> Result<RunRequest, Rejection> {
        let mut request = RunRequest { runtime: Some(runtime.to_owned()), language, ..RunRequest::default() };
        resolve(&mut request, Some("20.19.2")).map(|()| request)
    }

    #[test]
    fn a_runtime_is_a_language_and_a_version_that_is_there() {
        for (said, language, python) in [
            ("python3.13", Language::Python, Some("3.13")),
            ("python@3.11.2", Language::Python, Some("3.11.2")),
            ("python", Language::Python, None),
            ("node", Language::JavaScript, None),
            ("node20", Language::JavaScript, None),
            ("nodejs:20.19", Language::JavaScript, None),
        ] {
            let request = resolved(said, None).unwrap();
            assert_eq!((request.language, request.python.as_deref()), (Some(language), python), "{said}");
        }
        assert_eq!(
            resolved("node20", Some(Language::TypeScript)).unwrap().language,
            Some(Language::TypeScript)
        );
    }

    #[test]
    fn one_that_is_not_there_is_refused_with_what_is() {
        for (said, language, words) in [
            ("node22", None, "Node 20.19.2 is here"),
            ("node2", None, "Node 20.19.2 is here"),
            ("ruby3", None, "no runtime \"ruby\""),
            ("python3.13", Some(Language::Bash), "does not run it"),
        ] {
            let refused = resolved(said, language).unwrap_err();
            assert_eq!(refused.field, "runtime");
            assert!(refused.message.contains(words), "{said}: {refused}");
        }
    }
}
