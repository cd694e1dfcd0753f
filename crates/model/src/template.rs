//! What a template of an operator's own is made of.

use crate::object;
use crate::{Egress, InputFile, LimitsPatch, Rejection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the files of a template lie in its sandboxes, read-only, with what its commands made.
pub const TEMPLATE_DIRECTORY: &str = "/opt/template";
/// Most commands of one.
const SETUP_MAX: usize = 100;
/// Most modules of one.
const MODULES_MAX: usize = 100;

/// A template as an operator says it: a shipped one, and what is laid over that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TemplateDefinition {
    /// What runs and sessions call it: 1 to 64 of a-z, 0-9 and `-`; no shipped template's name.
    pub name: String,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The shipped template that it begins with: `python` if nothing is said.
    pub base: String,
    /// The image that its sandboxes see, by its name; absent means the service's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The version of Python that it is built for and its runs have, as `3.13`; absent means the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Packages that it has, as `pandas>=2`: of PyPI, or of npm for a template of Node. They are resolved once, and stay as they are.
    pub packages: Vec<String>,
    /// Python modules that its warm interpreter has imported.
    pub modules: Vec<String>,
    /// Files below `/opt/template`.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::request::InputFileSaid>))]
    pub files: Vec<InputFile>,
    /// Commands of a shell that are run once, one after the other, in `/opt/template`: what they leave there stays.
    pub setup: Vec<String>,
    /// Which hosts the commands may reach; absent is none.
    #[serde(deserialize_with = "Egress::deserialize", skip_serializing_if = "Option::is_none")]
    pub setup_egress: Option<Egress>,
    /// How programs are compiled, over a base that compiles them: a shell's command that makes of the file `$FILE` what is to be in the
    /// directory `$OUT`; absent means as the base does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile: Option<String>,
    /// Variables of every run.
    pub env: BTreeMap<String, String>,
    /// What its runs may use if they do not say.
    #[serde(deserialize_with = "object::deserialize")]
    pub limits: LimitsPatch,
    /// Which hosts its runs may reach if they do not say; absent is none.
    #[serde(deserialize_with = "Egress::deserialize", skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

impl TemplateDefinition {
    /// Says whether its name, modules and commands can be what they are to be. Packages, files, variables, limits and hosts are checked by
    /// those who take them.
    pub fn check(&self) -> Result<(), Rejection> {
        crate::spec::check_template(&self.name)
            .map_err(|wrong| Rejection { field: "name".into(), ..wrong })?;
        if self.name.contains('@') {
            let hint = "leave the version out: it is made of what the template has";
            return Err(Rejection::new("name", "a name with a version", hint));
        }
        if self.purpose.len() > 200 || self.purpose.chars().any(char::is_control) {
            let hint = "say it in at most 200 bytes of one line";
            return Err(Rejection::new("purpose", "not a few words", hint));
        }
        if self.image.is_some() && self.python.is_some() {
            let hint = "leave out one of both";
            return Err(Rejection::new("image", "an image has its own Python, and `python` names one", hint));
        }
        let is_module = |module: &&String| {
            let part = |part: &str| {
                part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            };
            module.len() <= 256 && module.split('.').all(part)
        };
        if self.modules.len() > MODULES_MAX {
            let hint = format!("give at most {MODULES_MAX}");
            return Err(Rejection::new("modules", "too many modules", hint));
        }
        if let Some(module) = self.modules.iter().find(|module| !is_module(module)) {
            let message = format!("{module:?} is not a module's name");
            return Err(Rejection::new("modules", message, "name modules as `import` takes them"));
        }
        if self.setup.len() > SETUP_MAX || self.setup.iter().any(|command| command.contains('\0')) {
            let hint = format!("give at most {SETUP_MAX} commands, without NUL");
            return Err(Rejection::new("setup", "not a list of commands", hint));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_refused_by_the_field_that_is_wrong() {
        let good = TemplateDefinition { name: "science".into(), ..TemplateDefinition::default() };
        good.check().unwrap();
        let wrong = [
            (TemplateDefinition { name: "../x".into(), ..good.clone() }, "name"),
            (TemplateDefinition { name: "a@0123456789ab".into(), ..good.clone() }, "name"),
            (TemplateDefinition { purpose: "a\nb".into(), ..good.clone() }, "purpose"),
            (
                TemplateDefinition { image: Some("a".into()), python: Some("3.13".into()), ..good.clone() },
                "image",
            ),
            (TemplateDefinition { modules: vec!["os; evil".into()], ..good.clone() }, "modules"),
            (TemplateDefinition { modules: vec!["a..b".into()], ..good.clone() }, "modules"),
            (TemplateDefinition { setup: vec!["a\0".into()], ..good }, "setup"),
        ];
        for (definition, field) in wrong {
            assert_eq!(definition.check().unwrap_err().field, field, "{definition:?}");
        }
    }
}
