//! The templates of a machine: which there are, which can be used now, and whose interpreters are warm.

use super::{Machine, Order};
use crate::installer::compile::Refused;
use crate::pool::Waiting;
use crate::run::result_of_refused;
use crate::spawner::Shape;
use crate::template::{NotReady, Template, TemplateStore, Templates};
use model::{Fault, FaultCode, Language, RunResult, RunSpec};
use packages::interpreter::Condition;
use std::path::PathBuf;

impl Machine {
    /// Has an interpreter of this template warm from now on, and of sandboxes with usual limits so many wait; `false` if its packages
    /// are not installed. An unknown name is an error.
    pub fn warm(&self, template: &str, waiting: usize) -> Result<bool, NotReady> {
        match self.inner.templates.by_name(template, None) {
            Ok(prepared) => {
                self.have_warm(&prepared);
                if waiting > 0 {
                    // What is started in them is what the template is for.
                    let first = prepared.template.languages.first().map(|row| row.name);
                    let ahead = first.filter(|language| *language != Language::Bash);
                    let image = prepared.image.clone();
                    self.inner.pool.keep(&Shape { image, ahead, ..self.inner.usual.clone() }, waiting);
                }
                Ok(true)
            }
            Err(NotReady::Rejected(_)) if Template::shipped(template).is_some() => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Chooses the Python of a run of a template by what it and its program ask for, in a thread that may wait; `None` is the image's own.
    pub async fn have_python(
        &self,
        template: &str,
        conditions: Vec<Condition>,
    ) -> Result<Option<String>, NotReady> {
        if conditions.is_empty() {
            return Ok(None);
        }
        // A template that is not there is told by whoever looks for it.
        let named = match Template::is_shipped(template) {
            true => None,
            false => self.templates().find(template).ok().and_then(|found| found.image().map(str::to_owned)),
        };
        self.inner.installer.have_python(named, conditions).await
    }

    /// Copies what a declared language needs, if it is not there, in a thread that may wait.
    pub async fn have_toolchain(&self, spec: &RunSpec) -> Result<(), NotReady> {
        if !spec.language.is_declared() || self.inner.templates.is_known(spec) {
            return Ok(());
        }
        let (machine, spec) = (self.clone(), spec.clone());
        let preparing = tokio::task::spawn_blocking(move || machine.inner.templates.of(&spec).map(drop));
        preparing.await.map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?
    }

    /// The shape of a run whose environment was used before: its interpreters wait with what its programs import, and one always does for a while.
    pub(super) fn with_habits(&self, shape: Shape, spec: &RunSpec, template: &Template) -> Shape {
        let is_plain = shape.ahead == Some(Language::Python) && spec.env.is_empty() && !shape.egress;
        let layer = shape.image.layers.first().filter(|_| is_plain && spec.environment.is_some());
        let name = |layer: &PathBuf| format!("{} {}", layer.display(), shape.image.digest);
        let habit = layer.and_then(|layer| self.inner.habits.of(&name(layer), layer, &spec.code));
        let own = template.modules();
        let modules = match habit {
            Some(modules) => modules,
            // A tenant's own says so itself.
            None if is_plain && template.is_tenants() && !own.is_empty() => own,
            None => return shape,
        };
        let shape = Shape { modules, ..shape };
        self.inner.pool.keep_for_a_while(&shape);
        shape
    }

    /// The result of a run whose program its compiler refused.
    pub fn refused(&self, order: Order, refused: Refused) -> RunResult {
        result_of_refused(order.id, order.created_at, &order.spec, &self.inner.image, refused)
    }

    /// Whether sandboxes can be made from a template now.
    pub fn is_ready(&self, template: &Template) -> Result<(), NotReady> {
        self.inner.templates.is_ready(template)
    }

    /// What is kept ready for runs of a template. Where several are of one image, each has those in which its languages wait.
    pub fn waiting_of(&self, template: &Template) -> Waiting {
        let Some(image) = self.inner.templates.image_of(template) else { return Waiting::default() };
        self.inner.pool.waiting(|shape| {
            shape.image.digest == image.digest && shape.ahead.is_none_or(|language| template.runs(language))
        })
    }

    /// Forgets what was prepared of an operator's template, so that nothing new is made from it.
    pub fn forget_template(&self, name: &str) {
        self.inner.templates.forget(name);
    }

    /// What runs need besides an image, for other machines and from them.
    pub fn stock(&self) -> &Templates {
        &self.inner.templates
    }

    /// The templates that there are.
    pub fn templates(&self) -> &TemplateStore {
        self.inner.templates.store()
    }
}
