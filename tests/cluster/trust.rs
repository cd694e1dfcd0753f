//! The group CL of the catalogue of attacks: what one who has a credential, or none, can do on the bus. Each has its control beside it.

use super::lab::{Lab, printing};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerAddr, ServerError};
use cluster::body::{Body, framed, unframed};
use cluster::work::{Envelope, Outcome, SIGNATURE};
use cluster::{Identity, Name};
use fireclay_tests::Data;
use fireclay_tests::server::PATIENCE;
use futures_util::StreamExt as _;
use model::{Priority, RunId, TenantId};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One who speaks to the bus as nobody's fireclay does.
pub struct Attacker {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// What the server said against it.
    said: Arc<Mutex<Vec<String>>>,
    identity: Identity,
}

impl Attacker {
    /// One who has a node's credential.
    pub fn with(lab: &Lab, node: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
        let identity = Identity::read(&lab.credential(node)).unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = said.clone();
        let options = ConnectOptions::with_nkey(identity.seed.clone())
            .custom_inbox_prefix(identity.inbox())
            .event_callback(move |event| {
                let told = told.clone();
                async move {
                    if let Event::ServerError(ServerError::Other(text)) = event {
                        told.lock().unwrap().push(text);
                    }
                }
            });
        let options = match &identity.tls_ca {
            Some(ca) => options.require_tls(true).add_root_certificates(ca.clone()),
            None => options,
        };
        let servers: Vec<ServerAddr> = lab.urls().split(',').map(|url| url.parse().unwrap()).collect();
        let client = runtime.block_on(options.connect(servers)).unwrap();
        Self { runtime, client, said, identity }
    }

    pub fn publish(&self, subject: &str, headers: HeaderMap, payload: Vec<u8>) {
        self.runtime.block_on(async {
            self.client.publish_with_headers(subject.to_owned(), headers, payload.into()).await.unwrap();
            self.client.flush().await.unwrap();
        });
    }

    pub fn request(&self, subject: &str, payload: &str) -> Result<async_nats::Message, String> {
        let asked = self.client.request(subject.to_owned(), payload.to_owned().into());
        self.runtime.block_on(asked).map_err(|error| error.to_string())
    }

    /// Waits until the server has refused something of this subject.
    fn is_refused(&self, subject: &str) {
        let until = Instant::now() + PATIENCE;
        let named = format!("\"{subject}\"");
        loop {
            let said = self.said.lock().unwrap().clone();
            if said
                .iter()
                .any(|text| text.to_lowercase().contains("permissions violation") && text.contains(&named))
            {
                return;
            }
            assert!(Instant::now() < until, "{subject} is not refused: {said:?}");
            std::thread::yield_now();
        }
    }

    fn cannot_publish(&self, subject: &str) {
        self.publish(subject, HeaderMap::new(), b"x".to_vec());
        self.is_refused(subject);
    }

    fn cannot_hear(&self, subject: &str) {
        let heard = self.runtime.block_on(self.client.subscribe(subject.to_owned())).unwrap();
        self.is_refused(subject);
        drop(heard);
    }

    /// The next run, as a worker gets it.
    fn pull(&self) -> async_nats::Message {
        self.runtime.block_on(async {
            let inbox = self.client.new_inbox();
            let mut answers = self.client.subscribe(inbox.clone()).await.unwrap();
            let next = "$JS.API.CONSUMER.MSG.NEXT.FC_RUNS.normal".to_owned();
            let asked = json!({ "batch": 1, "expires": 60_000_000_000_u64 }).to_string();
            self.client.publish_with_reply(next, inbox, asked.into()).await.unwrap();
            answers.next().await.unwrap()
        })
    }

    /// Tells a result as a worker does.
    fn settle(&self, envelope: &Envelope, token: &str, said: &str) {
        let worker = self.identity.name.clone();
        let ending = json!({ "fault": { "code": "internal", "message": said, "retry_safe": false } });
        let body = framed(ending.to_string().as_bytes(), b"");
        let outcome = Outcome {
            schema: cluster::names::SCHEMA,
            run: envelope.run.clone(),
            worker: worker.clone(),
            epoch: envelope.epoch,
            delivery: 1,
            token: token.to_owned(),
            body: Body::of(&body),
        };
        let subject = cluster::names::result(&worker, &envelope.gateway, &envelope.run, 1);
        self.publish(&subject, HeaderMap::new(), framed(&serde_json::to_vec(&outcome).unwrap(), &body));
    }
}

fn envelope_of(message: &async_nats::Message) -> Envelope {
    serde_json::from_slice(unframed(&message.payload).unwrap().0).unwrap()
}

/// An envelope that nobody asked for, of this gateway.
fn forged(gateway: &Identity, bytes: usize) -> Envelope {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    Envelope {
        schema: cluster::names::SCHEMA,
        run: RunId::from_random(sys::fs::random().unwrap()),
        gateway: gateway.name.clone(),
        epoch: 1,
        issued_ms: now,
        expires_ms: now + 60_000,
        created_at: "2026-01-01T00:00:00.000Z".into(),
        tenant: TenantId::local(),
        concurrency: 1,
        priority: Priority::Normal,
        repeatable: true,
        token: "0".repeat(64),
        body: Body { bytes, ..Body::of(b"{}") },
    }
}

fn python() -> Name {
    "python".parse().unwrap()
}

/// How many messages a stream has.
fn count(operator: &Attacker, stream: &str) -> u64 {
    let answer = operator.request(&format!("$JS.API.STREAM.INFO.{stream}"), "").unwrap();
    serde_json::from_slice::<Value>(&answer.payload).unwrap()["state"]["messages"].as_u64().unwrap()
}

pub fn wait_for_count(operator: &Attacker, stream: &str, wanted: u64) {
    let until = Instant::now() + PATIENCE;
    while count(operator, stream) != wanted {
        assert!(Instant::now() < until, "{stream} has {} for too long", count(operator, stream));
        std::thread::yield_now();
    }
}

const AWAY: [&str; 2] = ["--set", "cluster.worker=false"];

/// CL-01, CL-02, CL-12.
#[test]
fn who_has_no_credential_is_nobody_and_a_workers_is_for_work() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let _gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let worker = Attacker::with(&lab, "worker-w1");
    let nobody = worker.runtime.block_on(async_nats::connect(lab.urls())).map(drop).unwrap_err();
    assert_eq!(nobody.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
    let configuration = std::fs::read_to_string(lab.path().join("nats-n1.conf")).unwrap();
    assert!(!configuration.contains("no_auth_user") && configuration.contains("nkey:"));
    // Sending work, reading others' words, and others' results.
    for subject in [
        "fc.runs.normal.python.g1.run_x",
        "fc.cancel.run_x",
        "fc.in.x.0",
        "fc.layer.x.0",
        "fc.layer.x.end",
        // Tenants' turns, and what gateways say to each other.
        "fc.slot.local.0",
        "fc.freed.local",
        "fc.load.g1",
        "fc.ready",
        "fc.res.w2.g1.run_x.1",
        "$KV.FC_NODES.g1",
        "$KV.FC_CONTROL.w1",
        "$KV.FC_META.schema",
        // Connections to nodes, answers of others, where sessions are, and how others' ended.
        "fc.down.w2.g1.x",
        "fc.up.w2.g1.x",
        "$KV.FC_SESSIONS.at.ses_x",
        "$KV.FC_SESSIONS.end.w2.ses_x",
        // Saved files of others' sessions, and reading any.
        "fc.save.w2.ses_x.0.head",
        "$JS.API.DIRECT.GET.FC_SAVES.fc.save.w1.ses_x.0.head",
        "$JS.API.STREAM.PURGE.FC_SAVES",
    ] {
        worker.cannot_publish(subject);
    }
    for subject in [
        ">",
        "fc.>",
        "fc.runs.>",
        "fc.res.>",
        "fc.ev.>",
        "_INBOX.>",
        "_INBOX_g1.>",
        "$JS.>",
        "fc.down.>",
        "fc.down.w2.>",
        "fc.up.>",
    ] {
        worker.cannot_hear(subject);
    }
    // Administration.
    for subject in [
        "$JS.API.STREAM.PURGE.FC_RUNS",
        "$JS.API.STREAM.DELETE.FC_RUNS",
        "$JS.API.STREAM.UPDATE.FC_RUNS",
        "$JS.API.STREAM.RESTORE.FC_RUNS",
        "$JS.API.STREAM.SNAPSHOT.FC_RUNS",
        "$JS.API.STREAM.MSG.GET.FC_RUNS",
        "$JS.API.STREAM.MSG.DELETE.FC_RUNS",
        "$JS.API.STREAM.INFO.FC_RUNS",
        "$JS.API.CONSUMER.CREATE.FC_RESULTS.x",
        "$JS.API.CONSUMER.DELETE.FC_RUNS.normal",
        "$JS.API.DIRECT.GET.FC_RESULTS",
        "$JS.API.DIRECT.GET.FC_RUNS.fc.runs.normal.python.g1.x",
    ] {
        worker.cannot_publish(subject);
    }
    // The controls: what each may.
    let beats = worker.request("$KV.FC_NODES.w1", "{}").unwrap();
    assert!(String::from_utf8_lossy(&beats.payload).contains("\"stream\":\"KV_FC_NODES\""));
    let layer = worker.request("$JS.API.DIRECT.GET.FC_LAYERS.fc.layer.x.0", "").unwrap();
    assert_eq!(layer.status.map(|status| status.as_u16()), Some(404));
    let ends = worker.request("$KV.FC_SESSIONS.end.w1.ses_x", "{}").unwrap();
    assert!(String::from_utf8_lossy(&ends.payload).contains("\"stream\":\"KV_FC_SESSIONS\""));
    let saves = worker.request("fc.save.w1.ses_x.0.head", "{}").unwrap();
    assert!(String::from_utf8_lossy(&saves.payload).contains("\"stream\":\"FC_SAVES\""));
    let operator = Attacker::with(&lab, "operator-operator");
    assert_eq!(count(&operator, "FC_RUNS"), 0);
    let purged = operator.request("$JS.API.STREAM.PURGE.FC_RUNS", "").unwrap();
    assert!(String::from_utf8_lossy(&purged.payload).contains("\"success\":true"));
    operator.cannot_publish("fc.runs.normal.python.g1.run_x");
}

/// CL-03, CL-05, CL-08, CL-09, and the signatures.
#[test]
fn what_no_gateway_means_now_is_not_run_and_hurts_nobody() {
    let lab = Lab::small(&["g1"], &["w1", "w2"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let (sender, operator) = (Attacker::with(&lab, "gateway-g1"), Attacker::with(&lab, "operator-operator"));
    // A run that was captured, and is sent once more when it is settled.
    let thief = Attacker::with(&lab, "worker-w2");
    let id = gateway.submit(&printing("once"));
    let captured = thief.pull();
    let (envelope, headers) = (envelope_of(&captured), captured.headers.clone().unwrap());
    assert_eq!(envelope.run.as_str(), id);
    let node = lab.worker(0, "w1", &Data::fresh(), &[]);
    thief.publish(captured.reply.as_ref().unwrap(), HeaderMap::new(), b"-NAK".to_vec());
    assert_eq!(gateway.wait_until(&id, "settled")["stdout"], "once\n");
    wait_for_count(&operator, "FC_RUNS", 0);
    let mut again = HeaderMap::new();
    again.insert(SIGNATURE, headers.get(SIGNATURE).unwrap().as_str());
    sender.publish(&captured.subject, again.clone(), captured.payload.to_vec());
    wait_for_count(&operator, "FC_RUNS", 0);
    wait_for_count(&operator, "FC_RESULTS", 0);
    let (_, usage) = gateway.ask("GET", "/v1/usage", &Value::Null);
    assert_eq!(usage["items"][0]["runs"], 1, "it is settled once: {usage}");
    let dead = count(&operator, "FC_DEAD");
    // Under another name, by nobody's key, or as rubbish, it is put aside.
    let other = captured.subject.replace(".normal.", ".high.");
    sender.publish(&other, again, captured.payload.to_vec());
    wait_for_count(&operator, "FC_DEAD", dead + 1);
    let nobody = Identity { seed: thief.identity.seed.clone(), ..sender.identity.clone() };
    let fake = forged(&sender.identity, 2);
    let subject = fake.subject(&python());
    let (payload, signature) = fake.sealed(&nobody, &subject, b"{}");
    let mut headers = HeaderMap::new();
    headers.insert(SIGNATURE, signature.as_str());
    // What a server would tell of who sent it is no proof either.
    headers.insert("Nats-Request-Info", "{\"acc\":\"FIRECLAY\",\"user\":\"g1\"}");
    sender.publish(&subject, headers, payload);
    wait_for_count(&operator, "FC_DEAD", dead + 2);
    for (n, rubbish) in
        [b"".to_vec(), vec![255; 64], vec![0; 100_000], b"\x02\0\0\0{}".to_vec()].into_iter().enumerate()
    {
        let run = RunId::from_random([n as u8; 16]);
        sender.publish(&format!("fc.runs.normal.python.g1.{run}"), HeaderMap::new(), rubbish);
    }
    wait_for_count(&operator, "FC_DEAD", dead + 6);
    // Signed, and too late, or with a body that would fill the memory: it is told as settled, to a gateway that knows no such run.
    for (expired, bytes) in [(true, 2), (false, 1 << 40)] {
        let mut fake = forged(&sender.identity, bytes);
        if expired {
            fake.expires_ms = fake.issued_ms - 1;
        }
        let subject = fake.subject(&python());
        let (payload, signature) = fake.sealed(&sender.identity, &subject, b"{}");
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, signature.as_str());
        sender.publish(&subject, headers, payload);
    }
    wait_for_count(&operator, "FC_RUNS", 0);
    // Names that would be more than one token, or any.
    for template in ["x.>", "*", "a b", "python.g1"] {
        let (status, answer) = gateway.ask(
            "POST",
            "/v1/runs",
            &json!({ "language": "bash", "code": "id", "template": template }),
        );
        assert_eq!((status, &answer["field"]), (422, &json!("template")), "{answer}");
    }
    // More than a message may have.
    let large = sender
        .runtime
        .block_on(sender.client.publish("fc.runs.normal.python.g1.x", vec![0; (1 << 20) + 1].into()));
    assert_eq!(large.unwrap_err().kind(), async_nats::PublishErrorKind::MaxPayloadExceeded);
    assert_eq!(gateway.run(&printing("healthy"))["stdout"], "healthy\n");
    node.signal(Signal::TERM);
    assert!(node.ended());
}

/// CL-04, CL-05, CL-07.
#[test]
fn a_run_is_settled_once_by_who_had_it_and_given_up_in_the_end() {
    let lab = Lab::small(&["g1"], &["w1", "w2", "w3"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let (first, other) = (Attacker::with(&lab, "worker-w2"), Attacker::with(&lab, "worker-w3"));
    // Who never had it, and so has no token, is not believed; nor can it speak for another.
    let id = gateway.submit(&printing("true"));
    let held = first.pull();
    let envelope = envelope_of(&held);
    other.settle(&envelope, &"0".repeat(64), "forged");
    gateway.wait_for_metric("fireclay_cluster_refused", |count| count == 1.0);
    other.cannot_publish(&format!("fc.res.w2.g1.{id}.1"));
    assert_ne!(gateway.ask("GET", &format!("/v1/runs/{id}"), &Value::Null).1["state"], "settled");
    // Who had it is, once: it does not acknowledge, so the run comes to another, whose result is nobody's.
    first.settle(&envelope, &envelope.token, "first");
    let settled = gateway.wait_until(&id, "settled");
    assert_eq!(settled["fault"]["message"], "first", "{settled}");
    let node = lab.worker(0, "w1", &Data::fresh(), &[]);
    let operator = Attacker::with(&lab, "operator-operator");
    wait_for_count(&operator, "FC_RUNS", 0);
    wait_for_count(&operator, "FC_RESULTS", 0);
    assert_eq!(gateway.ask("GET", &format!("/v1/runs/{id}"), &Value::Null).1["fault"]["message"], "first");
    let (_, usage) = gateway.ask("GET", "/v1/usage", &Value::Null);
    assert_eq!(usage["items"][0]["runs"], 1, "{usage}");
    node.signal(Signal::TERM);
    assert!(node.ended());
    // One that nobody settles is given up.
    let id = gateway.submit(&printing("poison"));
    for _ in 0..cluster::DELIVERIES_MAX {
        let message = first.pull();
        first.publish(message.reply.as_ref().unwrap(), HeaderMap::new(), b"-NAK".to_vec());
    }
    let dead = count(&operator, "FC_DEAD");
    let _node = lab.worker(0, "w1", &Data::fresh(), &[]);
    let given_up = gateway.wait_until(&id, "settled");
    assert_eq!(
        (&given_up["fault"]["code"], &given_up["fault"]["retry_safe"]),
        (&json!("interrupted"), &json!(false)),
        "{given_up}"
    );
    wait_for_count(&operator, "FC_DEAD", dead + 1);
    assert_eq!(gateway.run(&printing("healthy"))["stdout"], "healthy\n");
}

/// CL-06: a credential is for one process. The later one goes on; the one before it ends, and says why.
#[test]
fn of_two_with_one_credential_one_goes_on() {
    let lab = Lab::small(&["g1"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let (one, two) = (Data::fresh(), Data::fresh());
    let first = lab.worker(0, "w1", &one, &[]);
    assert_eq!(gateway.run(&printing("first"))["stdout"], "first\n", "the control: alone it works");
    let second = lab.worker(0, "w1", &two, &[]);
    assert!(!first.ended(), "it ends, and not well");
    assert!(one.said().contains("another process has joined as w1"), "{}", one.said());
    assert_eq!(gateway.run(&printing("second"))["stdout"], "second\n");
    second.signal(Signal::TERM);
    assert!(second.ended());
}

/// A connection that no gateway signed for this node, lately, is not answered.
#[test]
fn a_connection_is_a_gateways_to_open() {
    let lab = Lab::small(&["g1", "g2"], &["w1"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let _node = lab.worker(0, "w1", &Data::fresh(), &[]);
    gateway.run(&printing("it works"));
    // One whose process is not there: it would end connections that it does not know.
    let sender = Attacker::with(&lab, "gateway-g2");
    let thief = Attacker::with(&lab, "worker-w1").identity;
    let ask = |signer: &Identity, key: &str, node: &str, age_ms: i64| {
        let subject = format!("fc.down.w1.g2.{key}");
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let opening = json!({ "schema": cluster::names::SCHEMA, "gateway": "g2", "node": node, "issued_ms": now - age_ms, "caller":
            json!({ "tenant": "local", "actor": "local", "ceiling": {}, "concurrency": 1, "waiting": 1, "rate_per_minute": 0,
                "allow_missing": [] }).to_string() });
        let text = opening.to_string();
        let signed = format!("fireclay link 1\n{subject}\n{text}");
        let signature = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            signer.sign(signed.as_bytes()),
        );
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, signature.as_str());
        let mut answers =
            sender.runtime.block_on(sender.client.subscribe(format!("fc.up.w1.g2.{key}"))).unwrap();
        let frame =
            |kind: u8, number: u64, bytes: &[u8]| [&[kind][..], &number.to_le_bytes(), bytes].concat();
        sender.publish(&subject, headers, frame(0, 0, text.as_bytes()));
        let request = b"GET /v1/sessions HTTP/1.1\r\nhost: x\r\n\r\n";
        sender.publish(&subject, HeaderMap::new(), frame(1, 1, request));
        // Either an answer, or the word that there is no such connection.
        sender.runtime.block_on(async {
            loop {
                let answer = answers.next().await.unwrap();
                match answer.payload[0] {
                    1 => return String::from_utf8_lossy(&answer.payload[9..]).starts_with("HTTP/1.1 200"),
                    4 => return false,
                    _ => {}
                }
            }
        })
    };
    assert!(ask(&sender.identity, "good", "w1", 0), "the control");
    assert!(!ask(&thief, "forged", "w1", 0));
    assert!(!ask(&sender.identity, "other", "w2", 0));
    assert!(!ask(&sender.identity, "old", "w1", 120_000));
}

/// CL-13: what runs on a worker does not reach the bus, and this machine does.
#[test]
fn a_sandbox_does_not_reach_the_bus() {
    let lab = Lab::small(&["g1"], &[]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &[]);
    let address = lab.urls().replace("nats://", "");
    let (host, port) = address.split_once(':').unwrap();
    std::net::TcpStream::connect(&address).unwrap();
    let code = format!(
        "import socket\ntry:\n    socket.create_connection(({host:?}, {port}), 5)\n    print('reached')\nexcept OSError as error:\n    print('not reached')"
    );
    let result = gateway.run(&json!({ "language": "python", "code": code }));
    assert_eq!(result["stdout"], "not reached\n", "{result}");
}

/// CL-14: a worker that is stopped for longer than its lease has lost its runs, and stops them.
#[test]
fn a_worker_that_was_stopped_past_its_lease_settles_nothing() {
    let lab = Lab::small(&["g1"], &["w1", "w2"]);
    let gateway = lab.gateway(0, "g1", &Data::fresh(), &AWAY);
    let (old, new) = (Data::fresh(), Data::fresh());
    let stopped = lab.worker(0, "w1", &old, &[]);
    // On the first worker it waits: the second finds a file that the test makes, in its own place, by the clock.
    let began = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let code = format!("(( $(date +%s) - {began} < 8 )) && sleep 600; echo new");
    let id =
        gateway.submit(&json!({ "language": "bash", "code": code, "limits": { "timeout_ms": 600_000 } }));
    gateway.wait_until(&id, "running");
    stopped.signal(Signal::STOP);
    let other = lab.worker(0, "w2", &new, &[]);
    let settled = gateway.wait_until(&id, "settled");
    assert_eq!(
        (&settled["outcome"], &settled["stdout"]),
        (&json!("completed"), &json!("new\n")),
        "{settled}"
    );
    stopped.signal(Signal::CONT);
    let until = Instant::now() + PATIENCE;
    while !old.said().contains(&format!("{id}: its lease is lost")) {
        assert!(Instant::now() < until, "it does not notice: {}", old.said());
        std::thread::yield_now();
    }
    assert!(!new.said().contains("lease is lost"), "the control: {}", new.said());
    // It has no run any more, and ends at once.
    stopped.signal(Signal::TERM);
    assert!(stopped.ended());
    drop(other);
    assert_eq!(gateway.ask("GET", &format!("/v1/runs/{id}"), &Value::Null).1, settled);
}

/// Mixed versions refuse each other.
#[test]
fn another_schema_is_refused_with_a_clear_message() {
    let lab = Lab::small(&["g1"], &[]);
    let data = Data::fresh();
    drop(lab.gateway(0, "g1", &data, &AWAY));
    let gateway = Attacker::with(&lab, "gateway-g1");
    let put = gateway.request("$KV.FC_META.schema", "7").unwrap();
    assert!(String::from_utf8_lossy(&put.payload).contains("KV_FC_META"));
    let said = lab.try_gateway(0, "g1", &data, &AWAY).map(drop).unwrap_err();
    let own = cluster::names::SCHEMA;
    let wanted = format!("the cluster has schema 7, and this fireclay speaks schema {own}");
    assert!(said.contains(&wanted), "{said}");
}

/// CL-11: a server with published holes is refused by who would join, and by the doctor.
#[test]
fn an_old_server_is_refused() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let lab = Lab::small(&["g1"], &["w1"]);
    // A server as a client sees it until it has connected, of the version that Debian 12 has.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let old = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let info = json!({ "server_id": "old", "server_name": "old", "version": "2.9.10", "go": "go", "host": "127.0.0.1",
                "port": 4222, "headers": true, "max_payload": 1 << 20, "proto": 1, "client_id": 1, "nonce": "nonce" });
            write!(stream, "INFO {info}\r\n").unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok).filter(|line| line.starts_with("PING")) {
                drop(line);
                stream.write_all(b"PONG\r\n").unwrap();
            }
        }
    });
    let doctor = |url: &str| {
        let data = Data::fresh();
        let mut command = data.command(&["doctor", "--json"]);
        command
            .env("FIRECLAY_CLUSTER_URL", url)
            .env("FIRECLAY_CLUSTER_CREDENTIALS", lab.credential("worker-w1"));
        let report: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["id"] == "cluster").unwrap()
    };
    let refused = doctor(&old);
    assert_eq!((&refused["ok"], &refused["severity"]), (&json!(false), &json!("required")), "{refused}");
    assert!(
        refused["have"].as_str().unwrap().contains("is version 2.9.10; 2.12.7 is the oldest"),
        "{refused}"
    );
    let good = doctor(&lab.urls());
    assert_eq!(good["ok"], true, "{good}");
    let data = Data::fresh();
    let mut worker = data.command(&["worker", "--cluster", &old]);
    let worker = worker.arg("--credentials").arg(lab.credential("worker-w1")).output().unwrap();
    let said = String::from_utf8_lossy(&worker.stderr).into_owned();
    assert!(!worker.status.success() && said.contains("2.12.7 is the oldest that will do"), "{said}");
}
