//! What the process before this one had sent, followed again.

use super::Wanted;
use crate::live::LiveRun;
use crate::needs::Needs;
use crate::problem::Problem;
use crate::service::{Service, read};
use crate::way::Way;
use model::result::RunState;
use model::{RunId, RunRequest, RunSpec};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Filter, Page, Reader, Scope};
use worker::installer::Over;
use worker::machine::Order;

/// Runs that are read at once when the service starts.
const PAGE: usize = 500;

/// Follows again what the process before had sent. Runs of sessions and batches ended with it.
pub async fn adopt(service: &Arc<Service>) -> Result<BTreeSet<RunId>, Problem> {
    let mut adopted = BTreeSet::new();
    for state in [RunState::Queued, RunState::Running] {
        let mut cursor = None;
        loop {
            let filter = Filter { state: Some(state), ..Filter::default() };
            let page = Page { limit: PAGE, cursor };
            let listed =
                read(&service.reader, move |reader| reader.runs(&Scope::Admin, &filter, &page)).await?;
            for row in listed.items {
                if row.session.is_none() && row.batch.is_none() && adopt_one(service, &row.id).await.is_some()
                {
                    adopted.insert(row.id);
                }
            }
            cursor = listed.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(adopted)
}

/// `None` if what was asked cannot be asked any more: then it is interrupted, as everything is that a service leaves.
async fn adopt_one(service: &Arc<Service>, id: &RunId) -> Option<()> {
    let wanted_id = id.clone();
    let record =
        read(&service.reader, move |reader: &Reader| reader.run(&Scope::Admin, &wanted_id)).await.ok()??;
    let request: RunRequest = serde_json::from_str(&record.request).ok()?;
    let tenant = record.row.tenant;
    let wanted = Wanted::of(&request);
    let mut spec: RunSpec = service.admit(&tenant, request).await.ok()?;
    spec.python = service.have_python(&spec).await.ok()?;
    let minor = service.machine.installer().python_minor(Over::from(&spec));
    let needs =
        Needs::of(&wanted.packages, wanted.auto_packages, &spec, minor).ok()?.only_there(wanted.offline);
    // What cannot be installed any more was most likely sent before.
    spec.environment = service.install(&tenant, Over::from(&spec), &needs).await.ok().flatten();
    let quota = service.quotas.of(&service.reader, &tenant).await.ok()?;
    let (share, wanted) = (quota.share, wanted.within(quota.everywhere));
    let created_at = worker::run::time(record.row.created_at_ms);
    let order = Order { id: id.clone(), created_at, spec, allow_missing: service.allow_missing() };
    let elsewhere = service.elsewhere.get()?;
    let there = elsewhere.send(&tenant, share, order, &wanted, true).ok()?;
    let live = LiveRun::new(tenant, None);
    service.live.insert(id.as_str(), live.clone());
    live.can_be_cancelled_by(crate::way::TakeBack::There(there.canceller()));
    live.is_taken_in();
    tokio::spawn(service.clone().follow(id.clone(), live, Way::There(there), None, None));
    Some(())
}
