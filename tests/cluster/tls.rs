//! CL-15: what goes over the wire between nodes is read by nobody who only listens, and a server that proves itself to nobody is not
//! spoken to.

use super::lab::Lab;
use async_nats::ConnectOptions;
use cluster::Identity;
use fireclay_tests::Data;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A word that is in the code of a run, and in what it prints.
const SECRET: &str = "nightingale";

/// One who listens between nodes and their server, and where nodes find it.
pub fn listen_between(lab: &Lab) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    let server = lab.urls().replace("nats://", "");
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let all = heard.clone();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(&server).unwrap());
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                let all = all.clone();
                std::thread::spawn(move || {
                    let mut piece = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut piece) {
                        all.lock().unwrap().extend_from_slice(&piece[..count]);
                        if to.write_all(&piece[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (address, heard)
}

/// Whether the word is heard when a gateway and a worker do a run.
fn is_heard(lab: &Lab) -> bool {
    let (between, heard) = listen_between(lab);
    let gateway =
        lab.gateway_by(&between, 0, "g1", &Data::fresh(), &["--set", "cluster.worker=false"]).unwrap();
    let _worker = lab.worker_by(&between, 0, "w1", &Data::fresh(), &[]);
    let result = gateway.run(&json!({ "language": "bash", "code": format!("echo {SECRET}") }));
    assert_eq!(result["stdout"], format!("{SECRET}\n"), "{result}");
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 1000, "all went this way");
    heard.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

#[test]
fn who_listens_between_nodes_reads_nothing() {
    let lab = Lab::encrypted(&["g1"], &["w1"]);
    assert!(!is_heard(&lab));
    assert!(is_heard(&Lab::small(&["g1"], &["w1"])), "the control: without TLS all can be read");
    // The server says that it wants TLS, and hears nothing else.
    let address = lab.urls().replace("nats://", "");
    let mut plain = BufReader::new(TcpStream::connect(&address).unwrap());
    let mut info = String::new();
    plain.read_line(&mut info).unwrap();
    assert!(info.contains("\"tls_required\":true"), "{info}");
    plain.get_mut().write_all(b"CONNECT {\"verbose\":true}\r\nPING\r\n").unwrap();
    let mut answer = Vec::new();
    // However it hangs up.
    drop(plain.read_to_end(&mut answer));
    assert!(!String::from_utf8_lossy(&answer).contains("PONG"), "{answer:?}");
    // A node speaks to a server only that its own authority signed for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = |authority: &str| {
        let identity = Identity::read(&lab.credential("worker-w1")).unwrap();
        let options = ConnectOptions::with_nkey(identity.seed)
            .require_tls(true)
            .add_root_certificates(lab.path().join(authority));
        runtime.block_on(options.connect(lab.urls())).map(drop)
    };
    connect("other.pem").unwrap_err();
    connect("ca.pem").unwrap();
}
