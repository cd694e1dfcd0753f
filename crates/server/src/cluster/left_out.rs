//! Other nodes, for a build that knows none.

use crate::problem::Problem;
use crate::service::Service;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use model::{RunId, RunRequest, TenantId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use worker::machine::{Event, Machine, Order};
use worker::queue::Share;

/// Other nodes: there are none.
#[derive(Debug)]
pub enum Elsewhere {}

/// What other nodes have to know of a run: nothing.
#[derive(Debug, Clone)]
pub struct Wanted;

/// A run that other nodes have: there is none.
#[derive(Debug)]
pub enum There {}

/// Takes such a run back; never made.
#[derive(Debug, Clone)]
pub struct Withdrawal;

impl Wanted {
    /// Of any request.
    pub fn of(_: &RunRequest) -> Self {
        Self
    }

    /// The same.
    pub fn within(self, _: Option<usize>) -> Self {
        self
    }
}

impl Elsewhere {
    /// Never asked.
    pub fn room(&self, _: &TenantId, _: Share, _: Option<usize>) -> Result<(), String> {
        match *self {}
    }

    /// Never asked.
    pub fn send(&self, _: &TenantId, _: Share, _: Order, _: &Wanted, _: bool) -> Result<There, String> {
        match *self {}
    }

    /// Never asked.
    pub async fn nodes(&self) -> Result<Vec<crate::http::nodes::NodeRow>, Problem> {
        match *self {}
    }

    /// Never asked.
    pub async fn want(&self, _: &str, _: crate::http::nodes::NodeWish) -> Result<(), Problem> {
        match *self {}
    }

    /// Never asked.
    pub fn drain(&self) {
        match *self {}
    }

    /// Never asked.
    pub async fn leave(&self, _: &Service) {
        match *self {}
    }

    /// Never asked.
    pub async fn left(&self) {
        match *self {}
    }

    /// Never asked.
    pub async fn metrics(&self) -> (Vec<(&'static str, &'static str, u64)>, BTreeMap<String, u64>) {
        match *self {}
    }
}

impl There {
    /// Never asked.
    pub async fn next(&mut self) -> Option<Event> {
        match *self {}
    }

    /// Never asked.
    pub fn canceller(&self) -> Withdrawal {
        match *self {}
    }

    /// Never asked.
    pub async fn recorded(&self) {
        match *self {}
    }
}

impl Withdrawal {
    /// Never asked.
    pub fn cancel(&self) {}
}

/// Never asked: nothing comes from other nodes.
pub fn arrived_of(machine: &Machine, id: &RunId) -> PathBuf {
    machine.artifacts_of(id)
}

/// Answers all here.
pub async fn relay(State(_): State<Arc<Service>>, request: Request, next: Next) -> Response {
    next.run(request).await
}
