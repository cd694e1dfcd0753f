//! `/mcp` over a real socket: the stateless protocol and the older one, and whose things their callers see.

use super::tenancy::Tenancy;
use fireclay_tests::http::Answer;
use fireclay_tests::server::PATIENCE;
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

/// The revision without sessions of the transport.
const STATELESS: &str = "2026-07-28";
/// One with them.
const OLDER: &str = "2025-06-18";
/// What every client must say that it takes.
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// The messages of an answer, whichever way they came.
fn messages(answer: &Answer) -> Vec<Value> {
    if answer.header("content-type").starts_with("application/json") {
        return vec![serde_json::from_slice(&answer.body).unwrap()];
    }
    let lines = answer.text().lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// A client of the stateless protocol: every request says all.
struct Client<'a> {
    server: &'a Server,
    name: &'a str,
    key: &'a str,
}

impl<'a> Client<'a> {
    fn new(server: &'a Server, name: &'a str) -> Self {
        Self { server, name, key: "" }
    }

    fn request(&self, method: &str, params: &Value) -> (Vec<(&'static str, String)>, Value) {
        let mut params = params.clone();
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(STATELESS);
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": self.name, "version": "1"});
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let mut headers = vec![
            (ACCEPT.0, ACCEPT.1.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("mcp-protocol-version", STATELESS.to_owned()),
            ("mcp-method", method.to_owned()),
        ];
        let named = params["name"].as_str().or(params["uri"].as_str());
        headers.extend(named.map(|name| ("mcp-name", name.to_owned())));
        if !self.key.is_empty() {
            headers.push(("authorization", format!("Bearer {}", self.key)));
        }
        (headers, json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        let (headers, body) = self.request(method, params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.server.send("POST", "/mcp", &headers, body.to_string().as_bytes());
        messages(&answer).pop().unwrap_or_else(|| panic!("no message: {answer:?}"))
    }

    /// What a tool answers.
    fn tool(&self, name: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({"name": name, "arguments": arguments}));
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// The text of what a tool answers, which must have gone well.
    fn text(&self, name: &str, arguments: &Value) -> String {
        let result = self.tool(name, arguments);
        assert_eq!(result["isError"], false, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Why a tool did not do it.
    fn refused(&self, name: &str, arguments: &Value) -> String {
        let result = self.tool(name, arguments);
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

/// A request whose answer is read line by line; dropping it closes the connection.
struct Line(BufReader<TcpStream>);

impl Line {
    fn send(server: &Server, headers: &[(&str, &str)], body: &Value) -> Self {
        let mut stream = server.connect();
        let body = body.to_string();
        let mut head =
            format!("POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", server.address(), body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next message.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the answer ended");
            if let Some(message) = line.strip_prefix("data: ").filter(|data| data.starts_with('{')) {
                return serde_json::from_str(message).unwrap();
            }
        }
    }
}

/// A run that prints and then goes on for long.
fn long_run() -> Value {
    json!({"name": "run_code", "arguments": {"code": "import time\nprint('begun', flush=True)\ntime.sleep(15)", "session": "fresh"},
        "_meta": {"progressToken": "p"}})
}

/// Waits until a run was settled as taken back.
fn wait_for_a_cancelled_run(server: &Server) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (_, runs) = server.get_json("/v1/runs?outcome=cancelled");
        if runs["items"].as_array().is_some_and(|items| items.len() == 1) {
            return;
        }
        assert!(Instant::now() < until, "it is not taken back");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_without_a_session_of_the_transport_has_state_and_files() {
    let server = Server::start(&[]);
    let client = Client::new(&server, "one");
    let found = client.ask("server/discover", &json!({}));
    assert!(found["result"]["supportedVersions"].as_array().unwrap().contains(&json!(STATELESS)), "{found}");
    let tools = client.ask("tools/list", &json!({}));
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 9, "{tools}");

    // Keys that are nobody's are of no account.
    assert_eq!(
        client.text("run_code", &json!({"code": "x = 40\nprint('hi')", "thought": "why not", "title": 3})),
        "hi\n"
    );
    let again = client.tool("run_code", &json!({"code": "x + 2", "language": null}));
    assert_eq!(again["content"][0]["text"], "[result]\n42");
    assert_eq!(again["structuredContent"]["result"]["text/plain"], "42");
    assert_eq!(again["structuredContent"]["session_opened"], false);
    // Another client's is another.
    let other = Client::new(&server, "two");
    assert!(other.refused("run_code", &json!({"code": "x"})).contains("NameError"));
    // By its name, it is everybody's of the same owner.
    assert_eq!(other.text("run_code", &json!({"code": "print(x)", "session": "mcp:one"})), "40\n");

    client.text("write_file", &json!({"path": "data/in.txt", "text": "seven words"}));
    assert_eq!(client.text("run_shell", &json!({"command": "cat data/in.txt; cd data"})), "seven words");
    assert_eq!(client.text("run_shell", &json!({"command": "ls"})), "in.txt\n");
    assert_eq!(
        client.text("list_files", &json!({"path": "./", "recursive": true})),
        "data/\ndata/in.txt  11 bytes"
    );
    let part = client.tool("read_file", &json!({"path": "data/in.txt", "offset": 6, "max_bytes": 3}));
    assert_eq!(
        (&part["structuredContent"]["text"], &part["structuredContent"]["more"]),
        (&json!("wor"), &json!(true))
    );
    assert!(client.refused("read_file", &json!({"path": "data/none"})).contains("data/none"));
    client.refused("read_file", &json!({"path": "../../runs"}));

    let listed = client.text("list_sessions", &json!({}));
    assert!(listed.contains("mcp:one") && listed.contains("mcp:two"), "{listed}");
    client.text("close_session", &json!({}));
    assert!(client.refused("list_files", &json!({})).contains("no session"));
    assert!(client.refused("run_code", &json!({"code": "x"})).contains("NameError"));
}

#[test]
fn what_is_wrong_with_code_or_arguments_is_a_result_that_says_so() {
    let server = Server::start(&[]);
    let client = Client::new(&server, "one");
    let failed = client.tool("run_code", &json!({"code": "1/0"}));
    assert_eq!(
        (&failed["isError"], &failed["structuredContent"]["outcome"]),
        (&json!(true), &json!("failed"))
    );
    assert_eq!(failed["structuredContent"]["error"]["name"], "ZeroDivisionError");
    assert!(client.refused("run_shell", &json!({"command": "exit 3"})).contains("exit code 3"));
    let slow = client.refused(
        "run_code",
        &json!({"code": "while True: pass", "limits": {"timeout_ms": 200}, "session": "fresh"}),
    );
    assert!(slow.contains("timed_out"), "{slow}");
    assert!(client.refused("run_code", &json!({})).contains("`code`"));
    assert!(client.refused("run_code", &json!({"code": "1", "language": "cobol"})).contains("cobol"));
    assert!(
        client
            .refused("run_code", &json!({"code": "1", "template": "none", "session": "fresh"}))
            .contains("none")
    );
    assert!(
        client
            .refused("run_code", &json!({"code": "1", "session": "ses_00000000000000000000000000"}))
            .contains("session")
    );
    // Only what is no call of a tool at all is an error of the protocol.
    let unknown = client.ask("tools/call", &json!({"name": "rm", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
}

#[test]
fn images_are_images_and_what_a_run_leaves_is_a_resource() {
    let server = Server::start(&[]);
    let client = Client::new(&server, "one");
    let code = "class P:\n  def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\nopen('left.txt', 'w').write('x y')\nP()";
    let shown = client.tool("run_code", &json!({"code": code, "session": "fresh"}));
    let images: Vec<&Value> =
        shown["content"].as_array().unwrap().iter().filter(|part| part["type"] == "image").collect();
    assert_eq!(images.len(), 1, "{shown}");
    assert_eq!(
        (&images[0]["mimeType"], &images[0]["data"]),
        (&json!("image/png"), &json!("iVBORw0KGgpyZXN0"))
    );
    let link =
        shown["content"].as_array().unwrap().iter().find(|part| part["type"] == "resource_link").unwrap();
    assert_eq!(link["name"], "left.txt");
    let read = client.ask("resources/read", &json!({"uri": link["uri"]}));
    assert_eq!(read["result"]["contents"][0]["text"], "x y", "{read}");
    let none =
        client.ask("resources/read", &json!({"uri": format!("{}.none", link["uri"].as_str().unwrap())}));
    assert!(none["error"].is_object(), "{none}");
    let templates = client.ask("resources/templates/list", &json!({}));
    assert_eq!(templates["result"]["resourceTemplates"].as_array().unwrap().len(), 2, "{templates}");

    client.text("write_file", &json!({"path": "a.png", "base64": "iVBORw0KGgpyZXN0"}));
    let image = client.tool("read_file", &json!({"path": "a.png"}));
    assert_eq!(image["content"][0]["type"], "image", "{image}");
}

#[test]
fn output_is_told_as_it_comes_and_a_client_that_goes_takes_its_run_back() {
    let server = Server::start(&[]);
    let (headers, body) = Client::new(&server, "one").request("tools/call", &long_run());
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut line = Line::send(&server, &headers, &body);
    assert_eq!(line.next()["params"]["message"], "started");
    let told = line.next();
    assert_eq!(
        (&told["method"], &told["params"]["message"]),
        (&json!("notifications/progress"), &json!("begun\n"))
    );
    assert_eq!(told["params"]["progressToken"], "p");
    drop(line);
    wait_for_a_cancelled_run(&server);
}

/// Says `initialize` as the older protocol has it; returns the session's id.
fn initialize(server: &Server, headers: &[(&str, &str)]) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": OLDER, "capabilities": {}, "clientInfo": {"name": "older", "version": "1"}}});
    let answer = post(server, headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(messages(&answer)[0]["result"]["protocolVersion"], OLDER);
    answer.header("mcp-session-id").to_owned()
}

fn post(server: &Server, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[ACCEPT, ("content-type", "application/json")], headers].concat();
    server.send("POST", "/mcp", &headers, body.to_string().as_bytes())
}

#[test]
fn the_older_protocol_is_served_at_the_same_address() {
    let server = Server::start(&[]);
    let id = initialize(&server, &[]);
    let session = [("mcp-session-id", id.as_str()), ("mcp-protocol-version", OLDER)];
    assert_eq!(
        post(&server, &session, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).status,
        202
    );
    let call = |code: &str| {
        let answer = post(
            &server,
            &session,
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "run_code", "arguments": {"code": code}}}),
        );
        messages(&answer).pop().unwrap()["result"]["content"][0]["text"].clone()
    };
    assert_eq!(call("y = 6"), "[completed without output]");
    assert_eq!(call("print(y * 7)"), "42\n");
    // A client that connects anew finds its state: it is not the transport's.
    let anew = initialize(&server, &[]);
    assert_ne!(anew, id);
    assert_eq!(Client::new(&server, "older").text("run_code", &json!({"code": "print(y)"})), "6\n");

    let headers = [&[ACCEPT, ("content-type", "application/json")], &session[..]].concat();
    let mut body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call"});
    body["params"] = long_run();
    let mut line = Line::send(&server, &headers, &body);
    assert_eq!(line.next()["params"]["message"], "started");
    assert_eq!(line.next()["params"]["message"], "begun\n");
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9, "reason": "enough"}});
    assert_eq!(post(&server, &session, &cancelled).status, 202);
    wait_for_a_cancelled_run(&server);

    assert_eq!(server.send("DELETE", "/mcp", &session, b"").status, 204);
    assert_eq!(
        post(&server, &session, &json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})).status,
        404
    );
}

#[test]
fn sessions_of_the_transport_are_bounded() {
    let server = Server::start(&[]);
    let first = initialize(&server, &[]);
    let list = |id: &str| {
        let session = [("mcp-session-id", id), ("mcp-protocol-version", OLDER)];
        post(&server, &session, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).status
    };
    assert_eq!(list(&first), 202);
    let later: Vec<String> = (0..64).map(|_| initialize(&server, &[])).collect();
    assert_eq!((list(&first), list(&later[0]), list(&later[63])), (404, 202, 202));
}

#[test]
fn tenants_see_nothing_of_each_other() {
    let tenancy = Tenancy::start();
    let server = &tenancy.server;
    let a = Client { server, name: "same", key: &tenancy.a };
    let b = Client { server, name: "same", key: &tenancy.b };
    let left =
        a.tool("run_code", &json!({"code": "open('left.txt', 'w').write('of a')", "session": "fresh"}));
    let uri = &left["structuredContent"]["artifacts"][0]["uri"];
    let own = a.tool("run_code", &json!({"code": "z = 1"}));
    let id = &own["structuredContent"]["session"];
    assert!(a.ask("resources/read", &json!({"uri": uri}))["result"].is_object());
    assert!(b.ask("resources/read", &json!({"uri": uri}))["error"].is_object());
    assert!(b.refused("run_code", &json!({"code": "z", "session": id})).contains("session"));
    b.refused("read_file", &json!({"path": "left.txt", "session": id}));
    b.refused("close_session", &json!({"session": id}));
    assert_eq!(b.text("list_sessions", &json!({})), "No session is open.");
    assert!(b.refused("run_code", &json!({"code": "z"})).contains("NameError"));

    // Nor does a session of the transport help.
    let key = |key: &str| format!("Bearer {key}");
    let (of_a, of_b) = (key(&tenancy.a), key(&tenancy.b));
    let of_a_session = initialize(server, &[("authorization", &of_a)]);
    let as_whom = |bearer: &str| {
        let headers = [
            ("authorization", bearer),
            ("mcp-session-id", of_a_session.as_str()),
            ("mcp-protocol-version", OLDER),
        ];
        post(server, &headers, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).status
    };
    assert_eq!((as_whom(&of_b), as_whom("Bearer fc_none_at_all"), as_whom(&of_a)), (404, 401, 202));
    assert_eq!(post(server, &[], &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).status, 401);
}

#[test]
fn no_page_of_another_origin_gets_through() {
    let server = Server::start(&[]);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let status = |headers: &[(&str, &str)]| post(&server, headers, &list).status;
    assert_eq!(status(&[("origin", "https://evil.example")]), 403);
    assert_eq!(status(&[("host", "evil.example")]), 403);
    let form =
        server.send("POST", "/mcp", &[ACCEPT, ("content-type", "text/plain")], list.to_string().as_bytes());
    assert_eq!(form.status, 415);
}

/// A client that speaks over pipes.
pub struct Pipes {
    child: std::process::Child,
    from: BufReader<std::process::ChildStdout>,
}

impl Pipes {
    pub fn start(data: &Data, args: &[&str]) -> Self {
        let mut command = data.command(&[&["mcp"], args].concat());
        let log =
            std::fs::File::options().append(true).create(true).open(data.path().join("stderr")).unwrap();
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut pipes = Self { child, from };
        let started = pipes.ask("initialize", &json!({"protocolVersion": OLDER, "capabilities": {}, "clientInfo": {"name": "pipes", "version": "1"}}));
        assert_eq!(started["result"]["serverInfo"]["name"], "fireclay");
        pipes.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        pipes
    }

    fn tell(&mut self, message: &Value) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.tell(&json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}));
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn run(&mut self, code: &str) -> Value {
        self.call(&json!({"code": code}))
    }

    /// Calls `run_code`.
    pub fn call(&mut self, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": "run_code", "arguments": arguments}))["result"].clone()
    }

    /// Closes its input and waits for its end.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn over_pipes_the_local_server_is_started_and_outlives_its_clients() {
    let data = Data::fresh();
    let mut pipes = Pipes::start(&data, &[]);
    assert_eq!(pipes.run("v = 1\nprint('hi')")["content"][0]["text"], "hi\n", "{}", data.said());
    // A second one shares what the first has started, and goes on when that is gone, however it dies.
    let mut second = Pipes::start(&data, &[]);
    assert_eq!(second.run("print(v)")["content"][0]["text"], "1\n");
    pipes.child.kill().unwrap();
    pipes.child.wait().unwrap();
    assert_eq!(second.run("print(v + 1)")["content"][0]["text"], "2\n", "{}", data.said());
    // When the server is gone, there is another for the next call.
    assert!(data.command(&["local", "stop"]).status().unwrap().success());
    assert_eq!(second.run("print(3)")["content"][0]["text"], "3\n", "{}", data.said());
    second.end();
    assert!(data.command(&["local", "stop"]).status().unwrap().success());
    data.wait_for_the_last_process();
}

/// What its command says, sandboxes have; and what a call says too.
#[test]
fn over_pipes_packages_come_by_flags_imports_and_calls() {
    let data = Data::fresh();
    let _server = super::packages::start(&data, &[]);
    let mut pipes = Pipes::start(&data, &["--package", "six==1.16.0", "--auto-packages"]);
    let said = pipes.run("import six, colorama\nprint(six.__version__, colorama.__name__)");
    assert_eq!(said["content"][0]["text"], "1.16.0 colorama\n", "{said}");
    let mut call = |session: &str| {
        let code = "import idna\nprint(idna.__name__)";
        pipes.call(&json!({"code": code, "packages": ["idna"], "session": session}))
    };
    for session in ["fresh", "other"] {
        let said = call(session);
        assert_eq!(said["content"][0]["text"], "idna\n", "{said}");
    }
    pipes.end();
}

#[test]
fn over_pipes_a_service_that_runs_is_used() {
    let server = Server::start(&[]);
    let mut pipes = Pipes::start(&server.data, &[]);
    pipes.run("w = 1");
    let mut named = Pipes::start(&Data::fresh(), &["--url", &server.url("")]);
    assert_eq!(named.run("print(w)")["content"][0]["text"], "1\n");
    named.end();
    pipes.end();
    let (_, sessions) = server.get_json("/v1/sessions?state=open");
    assert_eq!(sessions["items"][0]["name"], "mcp:pipes", "{sessions}");
}

#[test]
fn a_stream_that_would_go_on_for_ever_ends_with_the_service() {
    let server = Server::start(&[]);
    let id = initialize(&server, &[]);
    let mut stream = server.connect();
    let head = format!(
        "GET /mcp HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\nmcp-session-id: {id}\r\nmcp-protocol-version: {OLDER}\r\n\r\n",
        server.address()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "HTTP/1.1 200 OK");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());
    assert!(lines.all(|line| line.is_ok()), "it ends in order");
}
