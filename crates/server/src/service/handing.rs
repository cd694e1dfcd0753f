//! To whom a run is handed over: its session, this machine, or other nodes.

use super::{Place, Service};
use crate::way::Way;
use model::TenantId;
use worker::machine::Order;

impl Service {
    /// Hands a run over, or says what is full.
    pub(super) fn hand_over(
        &self,
        tenant: &TenantId,
        order: Order,
        (share, session, wanted): &Place,
    ) -> Result<Way, String> {
        let ticket = match (session, wanted, self.elsewhere.get()) {
            (None, Some(wanted), Some(elsewhere)) => {
                return elsewhere.send(tenant, *share, order, wanted, false).map(Way::There);
            }
            (Some(bound), ..) => bound.submit(&self.machine, *share, order),
            (None, ..) => self.machine.submit(tenant.as_str(), *share, order),
        };
        ticket.map(Way::Here).map_err(|full| full.to_string())
    }
}
