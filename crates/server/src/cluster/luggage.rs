//! What runs need besides an image, between the stores of this machine and the bus.

use cluster::{Bus, ClusterError, Coming, Freight};
use model::{Fault, FaultCode, RunSpec, TenantId};
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use worker::machine::Machine;
use worker::template::NotReady;
use worker::template::luggage::{Carried, Luggage, Piece};

/// Brings to this machine what runs of other nodes need. One for a process: who asks for what is on its way waits for it.
#[derive(Debug)]
pub struct Bringer {
    machine: Machine,
    bus: Bus,
    /// Layers of which somebody is bringing each, and for whom.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a run of this machine needs, as other nodes read it, and where its layers come from.
pub fn of(
    machine: &Machine,
    tenant: &TenantId,
    spec: &RunSpec,
) -> Result<(Option<String>, Vec<Freight>), String> {
    packed(machine.stock().luggage(tenant.as_str(), spec))
}

/// The same of a session.
pub fn of_session(
    machine: &Machine,
    tenant: &TenantId,
    (template, environment): (&str, Option<&str>),
) -> Result<(Option<String>, Vec<Freight>), String> {
    packed(machine.stock().luggage_of_session(tenant.as_str(), template, environment))
}

fn packed(found: Result<(Luggage, Vec<Piece>), NotReady>) -> Result<(Option<String>, Vec<Freight>), String> {
    let (luggage, pieces) = found.map_err(|not| not.to_string())?;
    if luggage.is_empty() {
        return Ok((None, Vec::new()));
    }
    let freight = pieces.into_iter().map(|piece| {
        let (hex, bytes) = (piece.parcel.hex.clone(), piece.parcel.bytes);
        let open = move || {
            let packed = piece.open().map_err(|error| io::Error::other(error.to_string()))?;
            Ok(Box::new(packed) as Box<dyn Read + Send>)
        };
        Freight { hex, bytes, open: Arc::new(open) }
    });
    let text = serde_json::to_string(&luggage).map_err(|error| error.to_string())?;
    Ok((Some(text), freight.collect()))
}

impl Bringer {
    /// For this machine, from this bus.
    pub fn new(machine: Machine, bus: Bus) -> Arc<Self> {
        if let Err(error) = machine.stock().sweep_arrivals() {
            worker::log::warn(format_args!("{error}"));
        }
        Arc::new(Self { machine, bus, turns: Mutex::default() })
    }

    fn turn(&self, tenant: &TenantId, hex: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(format!("{tenant} {hex}")).or_default().clone()
    }

    /// Has what a run needs brought here, and names it to the run. Whether it could be used: what is for other interpreters is not.
    pub async fn unpack(&self, tenant: &TenantId, text: &str, spec: &mut RunSpec) -> Result<bool, Fault> {
        let Some(luggage) = self.bring_all(tenant, text).await? else {
            spec.environment = None;
            return Ok(false);
        };
        spec.environment = luggage.packages().map(str::to_owned);
        if let Some(template) = luggage.template() {
            spec.template = template;
        }
        Ok(true)
    }

    /// Has what is said brought here; `None` if it is for other interpreters than this machine has.
    pub async fn bring_all(&self, tenant: &TenantId, text: &str) -> Result<Option<Luggage>, Fault> {
        let luggage: Luggage = serde_json::from_str(text).map_err(|error| failed(&error))?;
        let stock = self.machine.stock();
        if !stock.can_use(&luggage) {
            return Ok(None);
        }
        for carried in stock.lacks(tenant.as_str(), &luggage)? {
            let turn = self.turn(tenant, &carried.parcel.hex);
            let _turn = turn.lock().await;
            // Who had the turn before has brought it.
            if stock.lacks(tenant.as_str(), &luggage)?.contains(&carried) {
                self.bring(tenant, &luggage, carried).await?;
            }
        }
        stock.unpack(tenant.as_str(), &luggage)?;
        Ok(Some(luggage))
    }

    async fn bring(&self, tenant: &TenantId, luggage: &Luggage, carried: &Carried) -> Result<(), Fault> {
        let unheard = |error: ClusterError| failed(&error);
        let (hex, bytes) = (&carried.parcel.hex, carried.parcel.bytes);
        let mut coming = Coming::of(&self.bus, hex, bytes).map_err(unheard)?;
        let mut arriving = self.machine.stock().arriving(carried)?;
        while let Some(chunk) = coming.next().await.map_err(unheard)? {
            let taking = move || arriving.take(&chunk).map(|()| arriving);
            let taken = tokio::task::spawn_blocking(taking).await.map_err(|error| failed(&error))?;
            arriving = taken.map_err(|error| failed(&error))?;
        }
        let (machine, tenant) = (self.machine.clone(), tenant.clone());
        let (luggage, carried) = (luggage.clone(), carried.clone());
        let keeping = tokio::task::spawn_blocking(move || {
            let stock = machine.stock();
            stock.take_over(tenant.as_str(), &luggage, (&carried, arriving))?;
            if let Err(error) = stock.make_room(machine.installer().settings().cache_bytes) {
                worker::log::warn(format_args!("make room for layers: {error}"));
            }
            Ok(())
        });
        keeping.await.map_err(|error| failed(&error))??;
        let fields = [("digest".to_owned(), json!(hex)), ("bytes".to_owned(), json!(bytes))];
        worker::log::info("a layer has come", fields.into_iter().collect());
        Ok(())
    }
}

fn failed(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::ResourcesExhausted, format!("bring what the run needs: {error}"))
}
