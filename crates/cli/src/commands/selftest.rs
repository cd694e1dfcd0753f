//! `fireclay selftest`: fires the escape battery at the sandboxes of this machine, one attack after another, and keeps score.

use crate::args::SelftestArguments;
use crate::commands::image::ensure;
use crate::commands::run::usually_missing;
use crate::env::Settings;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{Layer, Policy, Rejection, RunId, RunRequest, RunResult, RunSpec};
use sandbox::host::Host;
use sandbox::run::{Refused, Setting};
use sandbox::supervise::{Io, Stdin};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use worker::battery::{self, Attack, Verdict};
use worker::image::DEFAULT_NAME;

/// An attack was not held off, or it is not known, and no missing layer explains it.
const NOT_HELD: u8 = 1;

/// How the attacks of a group ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Score {
    held: usize,
    breached: usize,
    inconclusive: usize,
    /// Of a layer that this machine did not give.
    undefended: usize,
}

impl Score {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Held => self.held += 1,
            Verdict::Breached(_) => self.breached += 1,
            Verdict::Inconclusive(_) => self.inconclusive += 1,
            Verdict::Undefended(..) => self.undefended += 1,
        }
    }
}

/// An attack that was not held off, or of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Open {
    id: &'static str,
    language: &'static str,
    title: &'static str,
    verdict: &'static str,
    reason: String,
}

/// The whole score.
#[derive(Debug, Default, Serialize)]
struct Report {
    image: String,
    total: Score,
    groups: BTreeMap<&'static str, Score>,
    not_held: Vec<Open>,
    /// Layers that this machine did not give to any attack's sandbox.
    missing: BTreeSet<Layer>,
}

/// Fires the battery; answers the exit code.
pub fn selftest(arguments: &SelftestArguments, settings: &Settings) -> anyhow::Result<u8> {
    let attacks = chosen(battery::attacks(), &arguments.groups)?;
    let (image, _hold) = ensure(DEFAULT_NAME, settings)?;
    let image = worker::run::root_of(&image);
    let host = Host::detect();
    sys::signal::ignore_broken_pipes()?;
    let bar = bar(attacks.len(), settings.color);
    let mut report = Report { image: image.digest.clone(), ..Report::default() };
    for attack in &attacks {
        bar.set_message(format!("{} {}", attack.id, attack.language.name()));
        // The clock of a bar that ticks by itself would be a second thread, and sandboxes are made by processes with one.
        bar.tick();
        let verdict = match fire(attack, &image, &host) {
            Ok(result) => {
                report.missing.extend(&result.isolation.missing);
                battery::verdict(attack, &result)
            }
            Err(reason) => Verdict::Inconclusive(reason),
        };
        bar.inc(1);
        report.record(attack, &verdict);
    }
    bar.finish_and_clear();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    // What needs a layer that is known to be missing is named, and is no news.
    Ok(if report.total.breached + report.total.inconclusive == 0 { 0 } else { NOT_HELD })
}

/// The attacks of these groups, or all.
fn chosen(attacks: Vec<Attack>, groups: &[String]) -> Result<Vec<Attack>, Rejection> {
    let known: BTreeSet<&str> = attacks.iter().map(|attack| attack.group).collect();
    let wanted: BTreeSet<String> = groups.iter().map(|group| group.to_uppercase()).collect();
    if let Some(unknown) = wanted.iter().find(|group| !known.contains(group.as_str())) {
        let names: Vec<&str> = known.into_iter().collect();
        return Err(Rejection::new(
            "GROUP",
            format!("there is no group {unknown:?}"),
            format!("use one of {}", names.join(", ")),
        ));
    }
    Ok(attacks.into_iter().filter(|attack| wanted.is_empty() || wanted.contains(attack.group)).collect())
}

/// Runs one attack as `fireclay run` would run it.
fn fire(attack: &Attack, image: &sandbox::Image, host: &Host) -> Result<RunResult, String> {
    let request = RunRequest {
        language: Some(attack.language),
        code: attack.code.to_owned(),
        limits: attack.limits,
        ..RunRequest::default()
    };
    let spec = RunSpec::admit(request, &Policy::DEFAULT).map_err(|rejection| rejection.to_string())?;
    let id = RunId::from_random(sys::fs::random().map_err(|error| error.to_string())?);
    let setting = Setting {
        host,
        image,
        allow_missing: usually_missing(),
        name: sandbox::cgroup::leaf_name(),
        amend: &std::convert::identity,
        serve: &drop,
        meanwhile: &|| {},
        fail_at: None,
    };
    let io =
        Io { stdin: Stdin::Bytes(&spec.stdin), stdout: None, stderr: None, cancel: None, gives_way: None };
    let created_at = worker::run::now();
    match sandbox::run::run(&spec, &setting, io) {
        Ok(settled) => Ok(worker::run::result_of(id, created_at, &spec, image, &settled)),
        Err(Refused::Fault(fault)) => Ok(worker::run::result_of_fault(id, created_at, &spec, image, fault)),
        Err(Refused::Rejected(rejection)) => Err(rejection.to_string()),
    }
}

impl Report {
    fn record(&mut self, attack: &Attack, verdict: &Verdict) {
        self.total.count(verdict);
        self.groups.entry(attack.group).or_default().count(verdict);
        let (name, reason) = match verdict {
            Verdict::Held => return,
            Verdict::Breached(reason) => ("breached", reason),
            Verdict::Inconclusive(reason) => ("inconclusive", reason),
            Verdict::Undefended(_, reason) => ("undefended", reason),
        };
        self.not_held.push(Open {
            id: attack.id,
            language: attack.language.name(),
            title: attack.title,
            verdict: name,
            reason: reason.clone(),
        });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, score: Score| {
            let Score { held, breached, inconclusive, undefended } = score;
            writeln!(text, "{name:<7} {held:>5} {breached:>9} {inconclusive:>13} {undefended:>11}")
                .expect("a String takes all");
        };
        self.groups.iter().for_each(|(group, score)| line(group, *score));
        line("all", self.total);
        let mut text = format!("GROUP    HELD  BREACHED  INCONCLUSIVE  UNDEFENDED\n{text}");
        for open in &self.not_held {
            // The reason holds what the attack printed, and only one line of a terminal is its due.
            let reason: String = open
                .reason
                .chars()
                .map(|at| if at.is_control() { ' ' } else { at })
                .take(REASON_CHARS_MAX)
                .collect();
            writeln!(text, "\n{} {} {}: {}\n  {reason}", open.id, open.language, open.verdict, open.title)
                .expect("a String takes all");
        }
        if !self.missing.is_empty() {
            let names: Vec<&str> = self.missing.iter().map(|layer| layer.name()).collect();
            let names = names.join(", ");
            writeln!(text, "\nthis machine did not give: {names} (fireclay doctor says why)")
                .expect("a String takes all");
            if self.total.undefended > 0 {
                writeln!(text, "not defended here without it: {} of the attacks", self.total.undefended)
                    .expect("a String takes all");
            }
        }
        text
    }
}

/// Most of a reason that the table shows; JSON has all of it.
const REASON_CHARS_MAX: usize = 400;

fn bar(attacks: usize, color: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(attacks as u64), ProgressDrawTarget::stderr());
    let shape = if color {
        "{msg:<20} {bar:32.cyan} {pos:>4} / {len}"
    } else {
        "{msg:<20} {bar:32} {pos:>4} / {len}"
    };
    bar.set_style(ProgressStyle::with_template(shape).expect("the template is a constant"));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attack(id: &'static str, group: &'static str) -> Attack {
        let mut attack = battery::attacks().swap_remove(0);
        (attack.id, attack.group, attack.title) = (id, group, "a title");
        attack.language = model::Language::Bash;
        attack
    }

    #[test]
    fn groups_are_chosen_in_any_case_and_unknown_ones_rejected() {
        let all = || vec![attack("FS-01", "FS"), attack("NS-01", "NS"), attack("NS-02", "NS")];
        let ids = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            chosen(all(), &groups).map(|attacks| attacks.iter().map(|attack| attack.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(&[]).unwrap(), ["FS-01", "NS-01", "NS-02"]);
        assert_eq!(ids(&["ns"]).unwrap(), ["NS-01", "NS-02"]);
        assert!(ids(&["XX"]).unwrap_err().to_string().contains("XX"));
    }

    #[test]
    fn the_table() {
        let mut report = Report::default();
        report.record(&attack("FS-01", "FS"), &Verdict::Held);
        report.record(&attack("NS-01", "NS"), &Verdict::Breached("BREACH \x1b[2Jroot".to_owned()));
        report.record(&attack("NS-02", "NS"), &Verdict::Inconclusive("timed_out without HELD".to_owned()));
        let undefended = Verdict::Undefended(Layer::Cgroup, "BREACH 256 MiB".to_owned());
        report.record(&attack("RS-03", "RS"), &undefended);
        report.missing.insert(Layer::Cgroup);
        insta::assert_snapshot!(report.text(), @r"
        GROUP    HELD  BREACHED  INCONCLUSIVE  UNDEFENDED
        FS          1         0             0           0
        NS          0         1             1           0
        RS          0         0             0           1
        all         1         1             1           1

        NS-01 bash breached: a title
          BREACH  [2Jroot

        NS-02 bash inconclusive: a title
          timed_out without HELD

        RS-03 bash undefended: a title
          BREACH 256 MiB

        this machine did not give: cgroup (fireclay doctor says why)
        not defended here without it: 1 of the attacks
        ");
    }
}
