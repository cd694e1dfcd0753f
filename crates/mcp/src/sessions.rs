//! Which session a call means. A session is an ordinary argument, by name or id, and never the transport's: a client of the stateless
//! protocol has no other way to say it, and one of the older protocol gets its state back after it has connected anew.

use crate::answer::structured;
use crate::api::{Asker, Refusal, object};
use crate::arguments::{CloseSession, CreateSession, ListSessions};
use crate::handler::{Call, OF_RUNS};
use model::SessionId;
use rmcp::model::CallToolResult;
use serde::Deserialize;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

/// The word for a sandbox that is gone after one run.
const FRESH: &str = "fresh";
/// Longest name of a client that is taken over into the name of its session, in characters.
const CLIENT_CHARS_MAX: usize = 64;
/// How many pages of sessions are looked through for a name.
const PAGES_MAX: usize = 50;
/// How many names can be opened at once without waiting for each other.
const LANES: usize = 64;

/// Keeps two calls at once from opening two sessions of one name. Who shares a lane waits a little longer.
pub struct Openings([Mutex<()>; LANES]);

impl Default for Openings {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Openings {
    async fn enter(&self, asker: &Asker, name: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (asker.who(), name).hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        self.0[lane].lock().await
    }
}

/// Where something is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a sandbox of its own.
    Fresh,
    /// In this session.
    Session {
        /// Its id.
        id: String,
        /// Whether it was opened for this.
        opened: bool,
    },
}

/// The name of a client's default session.
pub fn default_name(client: &str) -> String {
    let plain: String = client.chars().filter(|one| !one.is_control()).take(CLIENT_CHARS_MAX).collect();
    format!("mcp:{}", if plain.trim().is_empty() { "client" } else { plain.trim() })
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

/// The open session of this name or id, as the API shows it.
async fn find(asker: &Asker, wanted: &str) -> Result<Option<Value>, Refusal> {
    let mut path = "/v1/sessions?state=open&limit=200".to_owned();
    for _ in 0..PAGES_MAX {
        let page: Page = asker.json("GET", &path, None).await?;
        let is_it = |session: &&Value| session["id"] == wanted || session["name"] == wanted;
        if let Some(found) = page.items.iter().find(is_it) {
            return Ok(Some(found.clone()));
        }
        let Some(next) = page.next else { break };
        path = format!("/v1/sessions?state=open&limit=200&cursor={}", crate::api::encoded(&next));
    }
    Ok(None)
}

impl Call {
    fn name_of(&self, session: Option<&str>) -> String {
        session
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map_or_else(|| default_name(&self.client), str::to_owned)
    }

    /// Where a run of this call belongs; a session that is not there yet is opened.
    pub async fn place(&self, session: Option<&str>, template: Option<&str>) -> Result<Place, Refusal> {
        if session.is_some_and(|name| name.trim() == FRESH) {
            return Ok(Place::Fresh);
        }
        let name = self.name_of(session);
        let _turn = self.openings.enter(&self.asker, &name).await;
        if let Some(found) = find(&self.asker, &name).await? {
            let own = found["template"].as_str().unwrap_or_default();
            if let Some(other) = template.filter(|other| *other != own) {
                return Err(Refusal::new(format!(
                    "the session {name:?} is made from the template {own:?}, not {other:?} (name another `session`, say \
                     \"session\": \"fresh\", or close this one first)"
                )));
            }
            return Ok(Place::Session { id: text(&found, "id"), opened: false });
        }
        if name.parse::<SessionId>().is_ok() {
            // One that has ended, or was never there: the API says which.
            let ended: Value = self.asker.json("GET", &format!("/v1/sessions/{name}"), None).await?;
            return Err(ended_refusal(&ended));
        }
        let mut asked = object(&[("name", json!(name)), ("template", json!(template))]);
        self.complete(&mut asked, |name| name == "offline" || !OF_RUNS.contains(&name));
        let opened: Value = self.asker.json("POST", "/v1/sessions", Some(&asked)).await?;
        Ok(Place::Session { id: text(&opened, "id"), opened: true })
    }

    /// The session whose files are meant; it must be there. One that has ended is found by its id, as long as its files are kept.
    pub async fn existing(&self, session: Option<&str>) -> Result<String, Refusal> {
        let name = self.name_of(session);
        if let Some(found) = find(&self.asker, &name).await? {
            return Ok(text(&found, "id"));
        }
        if name.parse::<SessionId>().is_ok() {
            return Ok(name);
        }
        Err(Refusal::new(format!(
            "no session {name:?} is open (run_code, write_file or create_session opens one)"
        )))
    }

    /// `create_session`.
    pub async fn create_session(&self, asked: CreateSession) -> Result<CallToolResult, Refusal> {
        let CreateSession { name, template, limits, env, idle_ttl_ms } = asked;
        if name.trim() == FRESH {
            return Err(Refusal::new(
                "a session cannot be called \"fresh\": that is the word for a sandbox without one",
            ));
        }
        let _turn = self.openings.enter(&self.asker, &name).await;
        if !name.is_empty() && find(&self.asker, &name).await?.is_some() {
            return Err(Refusal::new(format!(
                "a session {name:?} is open already (use it, or close it first)"
            )));
        }
        let mut asked = object(&[
            ("name", json!(name)),
            ("template", json!(template)),
            ("limits", json!(limits)),
            ("env", json!(env)),
            ("idle_ttl_ms", json!(idle_ttl_ms)),
        ]);
        self.complete(&mut asked, |name| name == "offline" || !OF_RUNS.contains(&name));
        let opened: Value = self.asker.json("POST", "/v1/sessions", Some(&asked)).await?;
        let view = view_of(&opened);
        let word = view["session"].as_str().unwrap_or_default();
        Ok(structured(format!("The session {word:?} is open. Other tools take it as `session`."), view))
    }

    /// `close_session`.
    pub async fn close_session(
        &self,
        CloseSession { session }: CloseSession,
    ) -> Result<CallToolResult, Refusal> {
        let name = self.name_of(session.as_deref());
        let id = self.existing(session.as_deref()).await?;
        let closed: Value = self.asker.json("DELETE", &format!("/v1/sessions/{id}"), None).await?;
        Ok(structured(format!("The session {name:?} has ended."), view_of(&closed)))
    }

    /// `list_sessions`.
    pub async fn list_sessions(
        &self,
        ListSessions { ended }: ListSessions,
    ) -> Result<CallToolResult, Refusal> {
        let state = if ended { "" } else { "&state=open" };
        let page: Page = self.asker.json("GET", &format!("/v1/sessions?limit=200{state}"), None).await?;
        let items: Vec<Value> = page.items.iter().map(view_of).collect();
        let line = |item: &Value| {
            let word = |name: &str| item[name].as_str().unwrap_or("-").to_owned();
            let end = if item["ends_at"].is_null() {
                "has ended".to_owned()
            } else {
                format!("ends {}", word("ends_at"))
            };
            format!("{}  {}  {}  {end}", word("session"), word("id"), word("template"))
        };
        let mut lines: Vec<String> = items.iter().map(line).collect();
        if lines.is_empty() {
            return Ok(structured("No session is open.", json!({"sessions": [], "more": false})));
        }
        let more = page.next.is_some();
        if more {
            lines.push("… and more, which are older".to_owned());
        }
        Ok(structured(lines.join("\n"), json!({"sessions": items, "more": more})))
    }
}

/// A session as tools show it: little, and first by what to call it.
fn view_of(session: &Value) -> Value {
    let name = session["name"].as_str().filter(|name| !name.is_empty());
    json!({
        "session": name.or(session["id"].as_str()),
        "id": session["id"],
        "state": session["state"],
        "template": session["template"],
        "language": session["language"],
        "limits": session["limits"],
        "idle_ttl_ms": session["idle_ttl_ms"],
        "ends_at": session["ends_at"],
        "end": session["end"],
    })
}

fn ended_refusal(session: &Value) -> Refusal {
    let why = session["end"]["why"].as_str().unwrap_or("ended");
    Refusal::new(format!(
        "the session {} has ended: {why} (name another, and it is opened)",
        text(session, "id")
    ))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_its_session_and_nothing_else() {
        assert_eq!(default_name("claude-ai"), "mcp:claude-ai");
        assert_eq!(default_name(" \n"), "mcp:client");
        assert_eq!(default_name(&"x\u{1b}".repeat(500)).chars().count(), 4 + CLIENT_CHARS_MAX);
    }
}
