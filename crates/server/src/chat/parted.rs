//! Conversations that went to a client for the results of its own tools: what it has not seen of them, until it comes back.
//!
//! A client knows its own calls and nothing of ours. When it sends their results, its message with those calls is replaced by what was
//! really said: our calls, what came of them, and then its own. It is found by the ids of its calls, which are ours and cannot be guessed.
//! Kept in memory, for a while and up to a size: a conversation whose middle was forgotten goes on as the client tells it.

use model::{SessionId, TenantId};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that is kept.
const CONVERSATIONS_MAX: usize = 2_000;
/// What it may take in memory, about.
const BYTES_MAX: usize = 64 << 20;
/// Most of one tenant, so that nobody drives out what is others'.
const OF_TENANT_MAX: usize = 200;
const BYTES_OF_TENANT_MAX: usize = 16 << 20;

/// What a client has not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Hidden {
    /// Messages that stand for the client's one: our turns, the last one with all its calls, and what came of those that were ours.
    pub messages: Vec<Value>,
    /// The session that code ran in, if it was opened for this conversation.
    pub session: Option<SessionId>,
}

#[derive(Debug)]
struct Kept {
    tenant: TenantId,
    hidden: Hidden,
    bytes: usize,
}

#[derive(Debug, Default)]
struct All {
    kept: BTreeMap<u64, Kept>,
    /// Which conversation an id of a call belongs to.
    calls: BTreeMap<String, u64>,
    order: VecDeque<u64>,
    next: u64,
    bytes: usize,
}

/// All that is kept, of all tenants.
#[derive(Debug, Default)]
pub struct Parted(Mutex<All>);

impl Parted {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the tenant's client does not see, to be found by the ids of the calls that it does see.
    pub fn keep(&self, tenant: &TenantId, calls: &[String], hidden: Hidden) {
        let texts = hidden.messages.iter().map(|message| message.to_string().len());
        let bytes = texts.sum::<usize>() + calls.iter().map(String::len).sum::<usize>();
        if bytes > BYTES_OF_TENANT_MAX {
            return;
        }
        let mut all = self.all();
        let number = all.next;
        all.next += 1;
        all.bytes += bytes;
        all.order.push_back(number);
        all.calls.extend(calls.iter().map(|call| (call.clone(), number)));
        all.kept.insert(number, Kept { tenant: tenant.clone(), hidden, bytes });
        loop {
            let own = all.kept.values().filter(|kept| kept.tenant == *tenant);
            let (count, size) = own.fold((0, 0), |(count, size), kept| (count + 1, size + kept.bytes));
            let first =
                |of: &dyn Fn(&Kept) -> bool| all.order.iter().copied().find(|number| of(&all.kept[number]));
            let oldest = if count > OF_TENANT_MAX || size > BYTES_OF_TENANT_MAX {
                first(&|kept| kept.tenant == *tenant)
            } else if all.kept.len() > CONVERSATIONS_MAX || all.bytes > BYTES_MAX {
                first(&|_| true)
            } else {
                None
            };
            let Some(oldest) = oldest else { return };
            all.forget(oldest);
        }
    }

    /// What is kept for the tenant of the conversation that this call is of, or by the id of an answer all of it.
    pub fn find(&self, tenant: &TenantId, call: &str) -> Option<Hidden> {
        let all = self.all();
        let kept = &all.kept[all.calls.get(call)?];
        (kept.tenant == *tenant).then(|| kept.hidden.clone())
    }

    /// The messages as they were really said, and the session of the last that is known.
    pub fn restore(&self, tenant: &TenantId, messages: &[Value]) -> (Vec<Value>, Option<SessionId>) {
        let (mut restored, mut session) = (Vec::with_capacity(messages.len()), None);
        for message in messages {
            let call = message["tool_calls"][0]["id"].as_str().filter(|_| message["role"] == "assistant");
            match call.and_then(|call| self.find(tenant, call)) {
                Some(hidden) => {
                    session = hidden.session.or(session);
                    restored.extend(hidden.messages);
                }
                None => restored.push(message.clone()),
            }
        }
        (restored, session)
    }
}

impl All {
    fn forget(&mut self, number: u64) {
        self.order.retain(|other| *other != number);
        self.calls.retain(|_, other| *other != number);
        if let Some(kept) = self.kept.remove(&number) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hidden(text: &str) -> Hidden {
        Hidden { messages: vec![json!({"role": "assistant", "content": text})], session: None }
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn what_a_client_has_not_seen_is_put_back_for_it_alone() {
        let parted = Parted::default();
        parted.keep(&tenant("one"), &["call_a".to_owned(), "call_b".to_owned()], hidden("really said"));
        let seen = [
            json!({"role": "user", "content": "?"}),
            json!({"role": "assistant", "tool_calls": [{"id": "call_a"}, {"id": "call_b"}]}),
            json!({"role": "tool", "tool_call_id": "call_a", "content": "1"}),
        ];
        let (restored, _) = parted.restore(&tenant("one"), &seen);
        assert_eq!(
            (&restored[0], &restored[1]["content"], &restored[2]),
            (&seen[0], &json!("really said"), &seen[2])
        );
        assert_eq!(parted.restore(&tenant("two"), &seen).0, seen);
    }

    #[test]
    fn the_oldest_of_a_tenant_makes_room_for_its_newest() {
        let parted = Parted::default();
        parted.keep(&tenant("quiet"), &["kept".to_owned()], hidden("kept"));
        for number in 0..=OF_TENANT_MAX {
            parted.keep(&tenant("loud"), &[format!("call_{number}")], hidden("x"));
        }
        assert!(parted.find(&tenant("quiet"), "kept").is_some());
        assert!(parted.find(&tenant("loud"), "call_0").is_none());
        assert!(parted.find(&tenant("loud"), "call_1").is_some());
        let long = "x".repeat(BYTES_OF_TENANT_MAX / 2);
        parted.keep(&tenant("loud"), &["long".to_owned()], hidden(&long));
        parted.keep(&tenant("loud"), &["longer".to_owned()], hidden(&long));
        assert!(
            parted.find(&tenant("loud"), "long").is_none()
                && parted.find(&tenant("loud"), "longer").is_some()
        );
        parted.keep(&tenant("loud"), &["endless".to_owned()], hidden(&long.repeat(3)));
        assert!(parted.find(&tenant("loud"), "endless").is_none());
        let all = parted.all();
        assert_eq!((all.kept.len(), all.order.len(), all.calls.len()), (2, 2, 2));
    }
}
