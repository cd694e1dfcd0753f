//! Who may come in by a browser: links that are good once and soon, and the cookies that they are exchanged for.

use crate::problem::Problem;
use crate::service::internal;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::Actor;
use subtle::ConstantTimeEq;

/// How long a link is good.
pub const LINK: Duration = Duration::from_secs(60);
/// Most links of one session that were not followed yet; the oldest goes first.
const LINKS_MAX: usize = 32;
/// Most browsers in one session; the first that came goes first.
const COOKIES_MAX: usize = 128;

/// The doors of one session. They close with it.
#[derive(Default)]
pub struct Doors {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: VecDeque<Secret>,
    cookies: VecDeque<Secret>,
}

/// 256 random bits that let in whoever knows them.
struct Secret {
    text: String,
    /// To this port only.
    port: u16,
    /// In whose name: one whose key is revoked has no browsers in it either.
    by: Actor,
    made: Instant,
}

impl fmt::Debug for Doors {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Secret {
    fn new(port: u16, by: Actor, made: Instant) -> Result<Self, Problem> {
        let random = || sys::fs::random().map_err(|error| internal(error.to_string()));
        let text = worker::run::hex(&random()?) + &worker::run::hex(&random()?);
        Ok(Self { text, port, by, made })
    }

    /// How long that takes does not tell how much of it is right.
    fn is(&self, port: u16, said: &str) -> bool {
        self.port == port && bool::from(self.text.as_bytes().ct_eq(said.as_bytes()))
    }
}

impl Doors {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a link's secret.
    pub fn link(&self, port: u16, by: Actor, now: Instant) -> Result<String, Problem> {
        let secret = Secret::new(port, by, now)?;
        let text = secret.text.clone();
        push(&mut self.state().links, secret, LINKS_MAX);
        Ok(text)
    }

    /// Exchanges a link's secret for a cookie's. Good once, for its port, and for [`LINK`]; `None` else.
    pub fn exchange(&self, port: u16, said: &str, now: Instant) -> Result<Option<String>, Problem> {
        let mut state = self.state();
        state.links.retain(|link| now.saturating_duration_since(link.made) < LINK);
        let Some(at) = state.links.iter().position(|link| link.is(port, said)) else { return Ok(None) };
        let Some(link) = state.links.remove(at) else { return Ok(None) };
        let cookie = Secret::new(port, link.by, now)?;
        let text = cookie.text.clone();
        push(&mut state.cookies, cookie, COOKIES_MAX);
        Ok(Some(text))
    }

    /// In whose name a cookie lets in.
    pub fn visitor(&self, port: u16, said: &str) -> Option<Actor> {
        self.state().cookies.iter().find(|cookie| cookie.is(port, said)).map(|cookie| cookie.by.clone())
    }
}

fn push(secrets: &mut VecDeque<Secret>, secret: Secret, most: usize) {
    secrets.push_back(secret);
    if secrets.len() > most {
        secrets.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_soon_and_for_its_port() {
        let (doors, now) = (Doors::default(), Instant::now());
        let exchange = |port, said: &str, now| doors.exchange(port, said, now).unwrap();
        let link = doors.link(80, Actor::Local, now).unwrap();
        assert!(exchange(81, &link, now).is_none());
        assert!(exchange(80, &link[1..], now).is_none());
        let cookie = exchange(80, &link, now).unwrap();
        assert!(exchange(80, &link, now).is_none(), "it was followed");
        assert_eq!(doors.visitor(80, &cookie), Some(Actor::Local));
        assert_eq!(doors.visitor(81, &cookie), None);
        assert_eq!(doors.visitor(80, &link), None);
        assert_eq!(doors.visitor(80, ""), None);
        let late = doors.link(80, Actor::Local, now).unwrap();
        assert!(exchange(80, &late, now + LINK).is_none());
    }

    #[test]
    fn there_are_only_so_many() {
        let (doors, now) = (Doors::default(), Instant::now());
        let links: Vec<_> = (0..=LINKS_MAX).map(|_| doors.link(80, Actor::Local, now).unwrap()).collect();
        assert!(doors.exchange(80, &links[0], now).unwrap().is_none());
        let first = doors.exchange(80, &links[1], now).unwrap().unwrap();
        for _ in 0..COOKIES_MAX {
            let link = doors.link(80, Actor::Local, now).unwrap();
            doors.exchange(80, &link, now).unwrap().unwrap();
        }
        assert_eq!(doors.visitor(80, &first), None);
    }
}
