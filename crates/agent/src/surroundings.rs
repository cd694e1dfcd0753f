//! What a model is told of the sandbox before anything runs in it: what it may reach, and which files it has.

use crate::bounded::escaped;

/// Most hosts, and most files, that are named.
const NAMES_MAX: usize = 32;

/// What is special about the sandboxes of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Hosts that code may reach, as its egress has them; empty if it has no network.
    pub hosts: Vec<String>,
    /// Files that were put into the sandbox.
    pub files: Vec<String>,
}

impl Surroundings {
    /// The sandbox in words that follow "runs in".
    pub(crate) fn sandbox(&self) -> String {
        match self.hosts.as_slice() {
            [] => "a sandbox without network".to_owned(),
            hosts => format!("a sandbox that reaches these hosts alone: {}", listed(hosts)),
        }
    }

    /// Which files are there, in a sentence after a blank; nothing if there is none.
    pub(crate) fn files(&self) -> String {
        match self.files.as_slice() {
            [] => String::new(),
            files => format!(" In its working directory are the files: {}.", listed(files)),
        }
    }
}

/// Names between commas: quoted, so that none reads as more than a name.
fn listed(names: &[String]) -> String {
    let mut shown: Vec<String> =
        names.iter().take(NAMES_MAX).map(|name| format!("`{}`", plain(name))).collect();
    if names.len() > NAMES_MAX {
        shown.push(format!("and {} more", names.len() - NAMES_MAX));
    }
    shown.join(", ")
}

/// A name in one line without what hides, or ends the quotes.
fn plain(name: &str) -> String {
    escaped(name).replace('\n', "\\n").replace('`', "\\u{60}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_stay_names() {
        let around = Surroundings {
            hosts: vec!["a.example:443".to_owned()],
            files: (0..40).map(|number| format!("x`\n{number}")).collect(),
        };
        assert_eq!(around.sandbox(), "a sandbox that reaches these hosts alone: `a.example:443`");
        let files = around.files();
        assert!(files.contains("`x\\u{60}\\n31`, and 8 more.") && !files.contains('\n'), "{files}");
        assert_eq!(Surroundings::default().sandbox(), "a sandbox without network");
        assert_eq!(Surroundings::default().files(), "");
    }
}
