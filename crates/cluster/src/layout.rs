//! Streams, buckets and consumers: made by the first gateway, found by all others.

use crate::bus::{Bus, ClusterError, check_schema, failed};
use crate::names::{
    self, BLOBS, CLAIMS, CONTROL, DEAD, LAYERS, META, NODES, PRIORITIES, RESULTS, RUNS, SAVES, SCHEMA,
    SESSIONS, SLOTS,
};
use crate::nodes::NODE_TTL;
use crate::{DELIVERIES_MAX, LEASE, parcels, saves};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use std::time::Duration;

/// How long a run may wait to be begun; its signature holds as long.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);
/// How long results and bodies wait for a gateway that is away.
pub const KEEP: Duration = Duration::from_secs(24 * 3600);
/// How long it is known where a session is or how it ended; told again when it is given more time.
const KEEP_SESSIONS: Duration = Duration::from_secs(31 * 24 * 3600);
/// How long what was given up can be looked at.
const KEEP_DEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of such things, at most.
const DEAD_MAX: i64 = 10_000;
/// In this time a message that is sent again is no second one.
const AGAIN: Duration = Duration::from_secs(120);
/// Runs that workers have at once, all together.
const PENDING_MAX: i64 = 1_000_000;
/// Workers' questions for runs that stand at once, of each priority; the usual is 512.
const WAITING_MAX: i64 = 20_000;
/// Tries to make what a server does not have the leader for yet.
const TRIES: usize = 60;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Makes what is missing; refuses what another version made.
pub(crate) async fn make(bus: &Bus) -> Result<(), ClusterError> {
    let mut tries = 0;
    loop {
        match try_make(bus).await {
            Err(ClusterError::Nats { .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            done => return done,
        }
    }
}

async fn try_make(bus: &Bus) -> Result<(), ClusterError> {
    let replicas = bus.identity.replicas;
    let meta = bucket(bus, META, Duration::ZERO, replicas).await?;
    // Before anything else is touched: what is there may be another version's.
    let _unchanged_if_there = meta.create("schema", SCHEMA.to_string().into()).await.is_err();
    let found = meta.get("schema").await.map_err(failed("read the cluster's schema"))?;
    check_schema(&found.unwrap_or_default())?;
    bucket(bus, NODES, NODE_TTL, replicas).await?;
    bucket(bus, CONTROL, Duration::ZERO, replicas).await?;
    bucket(bus, SESSIONS, KEEP_SESSIONS, replicas).await?;
    for config in streams(replicas) {
        let doing = failed(format!("make the stream {}", config.name));
        bus.js.get_or_create_stream(config).await.map_err(doing)?;
    }
    for priority in PRIORITIES {
        let name = names::word(priority);
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: names::runs(priority),
            ack_policy: AckPolicy::Explicit,
            ack_wait: LEASE,
            // Workers count: beyond `DELIVERIES_MAX` a run is given up with a reason, not forgotten without.
            max_deliver: -1,
            max_ack_pending: PENDING_MAX,
            max_waiting: WAITING_MAX,
            ..pull::Config::default()
        };
        let doing = failed(format!("make the consumer {name}"));
        bus.js.create_consumer_on_stream(config, RUNS).await.map_err(doing)?;
    }
    Ok(())
}

fn streams(replicas: usize) -> [Config; 8] {
    let plain = |name: &str, subjects: &[&str]| Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        storage: StorageType::File,
        num_replicas: replicas,
        duplicate_window: AGAIN,
        allow_direct: true,
        max_age: KEEP,
        ..Config::default()
    };
    // The first message of a subject is the only one, until it is acknowledged.
    let once = |config: Config| Config {
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        ..config
    };
    let queue = |config: Config| Config { retention: RetentionPolicy::WorkQueue, ..config };
    [
        once(queue(Config { max_age: 2 * WAIT_MAX, ..plain(RUNS, &["fc.runs.>"]) })),
        once(queue(plain(RESULTS, &["fc.res.>"]))),
        once(plain(CLAIMS, &["fc.claim.*"])),
        once(plain(SLOTS, &["fc.slot.>"])),
        Config { max_age: KEEP_DEAD, max_messages: DEAD_MAX, ..plain(DEAD, &["fc.dead.>"]) },
        Config {
            max_age: parcels::KEEP,
            max_bytes: parcels::LAYERS_MAX,
            max_messages_per_subject: 1,
            ..plain(LAYERS, &["fc.layer.>"])
        },
        // What is too much is refused: files of others do not make room for it.
        Config {
            max_age: saves::KEEP,
            max_bytes: saves::SAVES_MAX,
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            ..plain(SAVES, &["fc.save.>"])
        },
        Config { max_messages_per_subject: 1, ..plain(BLOBS, &["fc.in.>", "fc.out.>"]) },
    ]
}

async fn bucket(
    bus: &Bus,
    name: &str,
    max_age: Duration,
    replicas: usize,
) -> Result<kv::Store, ClusterError> {
    if let Ok(store) = bus.js.get_key_value(name).await {
        return Ok(store);
    }
    let config = kv::Config {
        bucket: name.to_owned(),
        history: 1,
        max_age,
        storage: StorageType::File,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    bus.js.create_key_value(config).await.map_err(failed(format!("make the bucket {name}")))
}

/// A consumer of all results for this gateway, made if it is missing.
pub(crate) async fn results(
    bus: &Bus,
) -> Result<async_nats::jetstream::consumer::PullConsumer, ClusterError> {
    let name = format!("gateway-{}", bus.identity.name);
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: names::results(&bus.identity.name),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 3 * LEASE,
        max_deliver: -1,
        max_ack_pending: PENDING_MAX,
        ..pull::Config::default()
    };
    bus.js
        .create_consumer_on_stream(config, RESULTS)
        .await
        .map_err(failed(format!("make the consumer {name}")))
}

const _: () = assert!(DELIVERIES_MAX > 1, "a run outlives the death of one worker");
