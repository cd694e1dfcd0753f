//! `fireclay local`: says where this user's local server is, starts it if there is none, ends it.

use crate::args::{LocalArguments, LocalCommand};
use crate::env::Settings;
use crate::local;
use crate::serving::Serving;
use model::Rejection;
use serde_json::json;

/// The code when there is no server to tell of.
const NONE: u8 = 1;

/// Does what is asked; answers the exit code.
pub fn local(arguments: &LocalArguments, settings: &Settings) -> anyhow::Result<u8> {
    match arguments.command {
        LocalCommand::Start => {
            show(&local::start(settings)?, arguments.json);
            Ok(0)
        }
        LocalCommand::Status => match Serving::answering(&settings.data) {
            Some(serving) => {
                show(&serving, arguments.json);
                Ok(0)
            }
            None => {
                println!("{}", if arguments.json { "null" } else { "no server runs" });
                Ok(NONE)
            }
        },
        LocalCommand::Stop => {
            let Some(serving) = Serving::read(&settings.data) else { return Ok(0) };
            if serving.token_file.is_none() {
                let message = format!("{} was started by `fireclay serve`", serving.url());
                return Err(Rejection::new("stop", message, "end it where it was started").into());
            }
            local::stop(&serving)?;
            Ok(0)
        }
    }
}

/// Prints where a server is. As JSON, for programs of its user, with the token that it wants.
pub fn show(serving: &Serving, as_json: bool) {
    if as_json {
        let Serving { pid, started, version, .. } = serving;
        let (url, token) = (serving.url(), serving.token());
        println!(
            "{}",
            json!({"url": url, "token": token, "pid": pid, "started": started, "version": version})
        );
    } else {
        println!("{}", serving.url());
    }
}
