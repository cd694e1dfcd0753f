//! What a worker tells of its runs: what they do meanwhile, and what became of them.

use super::{Ending, Worker};
use crate::body::{self, Body, Place, framed};
use crate::bus::ClusterError;
use crate::names::{self, Name, SCHEMA};
use crate::work::{Envelope, Happening, Outcome, Told, Took};
use async_nats::HeaderMap;
use model::{Fault, FaultCode, RunResult};

impl Worker {
    pub(super) async fn tell(&self, envelope: &Envelope, delivery: i64, happening: Happening) {
        let subject = names::event(&self.bus.identity.name, &envelope.gateway, &envelope.run);
        let told = Told { token: envelope.token.clone(), epoch: envelope.epoch, delivery, happening };
        let text = serde_json::to_vec(&told).expect("what happens is JSON");
        // Who does not hear it finds it in the result.
        drop(self.bus.client.publish(subject, text.into()).await);
    }

    pub(super) async fn settle(
        &self,
        envelope: &Envelope,
        delivery: i64,
        body: &[u8],
    ) -> Result<(), ClusterError> {
        let worker: &Name = &self.bus.identity.name;
        let described = Body::of(body);
        body::put(&self.bus, Place::Out(worker), &described, body).await?;
        let outcome = Outcome {
            schema: SCHEMA,
            run: envelope.run.clone(),
            worker: worker.clone(),
            epoch: envelope.epoch,
            delivery,
            token: envelope.token.clone(),
            body: described,
        };
        let inline = if outcome.body.is_inline() { body } else { b"" };
        let text = serde_json::to_vec(&outcome).expect("an outcome is JSON");
        let subject = names::result(worker, &envelope.gateway, &envelope.run, delivery);
        let id = format!("{}.{}.{delivery}", envelope.run, envelope.epoch);
        // One that is there is ours: nobody else may write there.
        self.bus.store(subject, &id, HeaderMap::new(), framed(&text, inline)).await.map(drop)
    }

    /// The ending as JSON, and its artifacts. What cannot travel is a fault.
    pub(super) async fn body_of(&self, ending: Ending) -> Vec<u8> {
        let fault = match ending {
            Ending::Fault(fault) => fault,
            Ending::Result(result, took) => match self.body_of_result(result, took).await {
                Ok(body) => return body,
                Err(fault) => fault,
            },
        };
        let text = serde_json::to_vec(&Ending::Fault(fault)).expect("a fault is JSON");
        framed(&text, b"")
    }

    async fn body_of_result(&self, result: Box<RunResult>, took: Took) -> Result<Vec<u8>, Fault> {
        let total = result.artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>();
        let (count, directory) = (result.artifacts.len(), self.hands.artifacts(&result.id));
        let text = serde_json::to_vec(&Ending::Result(result, took));
        let text = text.map_err(|error| Fault::new(FaultCode::Internal, error.to_string()))?;
        if text.len() as u64 + total + 4 > body::BODY_MAX as u64 {
            let message =
                format!("{total} bytes of files were left, and {} travel between nodes", body::BODY_MAX);
            let fault = Fault::new(FaultCode::ResourcesExhausted, message);
            return Err(Fault { retry_safe: false, ..fault });
        }
        let mut files = Vec::new();
        for index in 0..count {
            let file = tokio::fs::read(directory.join(index.to_string())).await;
            let file =
                file.map_err(|error| Fault::new(FaultCode::Internal, format!("an artifact: {error}")))?;
            files.extend(file);
        }
        Ok(framed(&text, &files))
    }
}
