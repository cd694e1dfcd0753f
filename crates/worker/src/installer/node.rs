//! Packages of npm, by the image's npm. No script of a package is run (`--ignore-scripts`), and no link is made.

use super::site::Site;
use super::{Asked, Installer, Over, SCHEMA, failed};
use crate::image::Runtime;
use crate::image::packages::{Found, PackageLayer};
use crate::run::{hex, root_of};
use crate::template::NotReady;
use model::Rejection;
use packages::npm::Requirement;
use packages::npm_lock::NpmLock;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Options of both steps (docs.npmjs.com/cli/v11/using-npm/config): no settings of anybody, no code of a package, nothing said to anybody.
const OPTIONS: &str = "--ignore-scripts --no-bin-links --no-audit --no-fund --no-update-notifier --no-progress --cache /tmp/cache \
                       --userconfig /tmp/.npmrc --globalconfig /tmp/.npmrc-all --loglevel error \
                       --fetch-retries 1 --fetch-retry-mintimeout 500 --fetch-timeout 60000";
/// Where Node finds them, whatever directory a program lies in (nodejs.org/api/modules.html, "Loading from `node_modules` folders").
const PLACE: &str = "/node_modules";
/// Makes a program of each that a package brings (`bin` of its package.json): a file that executes it where it lies, since a layer has no links.
const BINS: &str = r#"
const fs = require('fs'), path = require('path');
const made = new Set();
const packages = fs.readdirSync('node_modules').filter(name => name[0] !== '.').flatMap(name =>
  name[0] === '@' ? fs.readdirSync('node_modules/' + name).map(inner => name + '/' + inner) : [name]);
for (const name of packages.sort()) {
  let bin;
  try { bin = JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`, 'utf8')).bin; } catch { continue; }
  if (typeof bin === 'string') bin = { [name.split('/').pop()]: bin };
  for (const [word, file] of Object.entries(bin && typeof bin === 'object' ? bin : {})) {
    const target = path.posix.normalize(`/node_modules/${name}/${file}`);
    const plain = /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(word) && /^[A-Za-z0-9@._\/-]+$/.test(target);
    if (!plain || made.has(word) || !target.startsWith(`/node_modules/${name}/`) || !fs.existsSync('.' + target)) continue;
    made.add(word);
    fs.mkdirSync('node_modules/.bin', { recursive: true });
    const script = fs.readFileSync('.' + target, 'latin1').slice(0, 80).split('\n')[0];
    const by = /^#!.*\bnode\b/.test(script) ? 'node ' : '';
    if (!by) fs.chmodSync('.' + target, 0o755);
    fs.writeFileSync('node_modules/.bin/' + word, `#!/bin/sh\nexec ${by}${target} "$@"\n`, { mode: 0o755 });
  }
}
"#;
/// What to do when npm refuses.
const HINT: &str = "check names and versions; scripts of packages are not run";

impl Installer {
    /// Installs what is asked for with npm.
    pub(super) async fn build_node(
        &self,
        asked: &Asked<'_>,
        requirements: &[Requirement],
        key: &str,
    ) -> Result<PackageLayer, NotReady> {
        let (node, npm) = self.npm(asked.over)?;
        let site =
            Site::open(self, root_of(&self.image_over(asked.over)?), &self.inner.settings.npm_hosts).await?;
        let built = self.build_node_in(&site, asked, requirements, key, (&node, &npm)).await;
        site.close();
        built
    }

    async fn build_node_in(
        &self,
        site: &Site,
        asked: &Asked<'_>,
        requirements: &[Requirement],
        key: &str,
        (node, npm): (&Runtime, &Path),
    ) -> Result<PackageLayer, NotReady> {
        let settings = &self.inner.settings;
        let files = site.files()?;
        let write = |name: &str, text: &str| files.write(name, text.as_bytes(), false).map_err(failed);
        let dependencies: Map<String, Value> =
            requirements.iter().map(|wanted| (wanted.name.clone(), json!(wanted.range))).collect();
        write("package.json", &json!({ "private": true, "dependencies": dependencies }).to_string())?;
        let newest = self.newest().map(|newest| format!("--before {newest}")).unwrap_or_default();
        let (npm, registry) = (npm.display(), &settings.registry);
        let options = format!("{OPTIONS} --registry {registry} {newest}");
        site.work(&format!("{npm} install --package-lock-only {options}"), HINT).await?;
        let text = site.read("package-lock.json")?;
        let lock = NpmLock::parse(&text, registry).map_err(|wrong| wrong.rejection("packages"))?;
        for entry in lock.entries() {
            let judged = settings.policy.judge_locked_npm(&entry.name);
            judged.map_err(|denied| {
                Rejection::new("packages", denied.to_string(), "leave out what needs it")
            })?;
        }
        let platform = std::env::consts::ARCH;
        let (version, template) = (&node.version, self.inner.templates.find(asked.over.template)?.address());
        let form = format!("resolved {SCHEMA}\n{template}\nnode {version} {platform}\n{}", lock.canonical());
        let resolved = hex(&Sha256::digest(form));
        if let Some(layer) = self.inner.store.find(asked.tenant, &resolved).map_err(failed)? {
            self.inner.store.name(asked.tenant, key, &layer).map_err(failed)?;
            return Ok(layer);
        }
        files.write("bins.cjs", BINS.as_bytes(), false).map_err(failed)?;
        let node_path = node.path.display();
        let install = format!("{npm} ci {options} && mkdir -p node_modules && {node_path} bins.cjs");
        site.work(&install, HINT).await?;
        let found = Found {
            path: "node_modules",
            from: site.files()?,
            site: PathBuf::from(PLACE),
            runtime: format!("Node {version}"),
            packages: lock.packages(),
            lock: text,
            template: asked.over.template.to_owned(),
            most_bytes: settings.limits.disk_bytes,
        };
        self.keep(asked, [key.to_owned(), resolved], found).await
    }

    /// The image's Node, and npm beside it.
    pub(super) fn npm(&self, over: Over<'_>) -> Result<(Runtime, PathBuf), NotReady> {
        let missing = |what: &str| {
            let hint = "install it on the host and run `fireclay image build`";
            Rejection::new("packages", format!("the image has no {what}"), hint)
        };
        let image = self.image_over(over)?;
        let node = image.manifest.runtimes.node.clone().ok_or_else(|| missing("Node"))?;
        let npm = node.path.with_file_name("npm");
        let below = npm.strip_prefix("/").unwrap_or(&npm);
        if image.rootfs.join(below).symlink_metadata().is_err() {
            return Err(missing("npm").into());
        }
        Ok((node, npm))
    }
}
