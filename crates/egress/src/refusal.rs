//! Why a connection did not do what it asked, and what the client is told: one table.

use crate::Verdict;
use crate::attempt::Way;
use crate::hello::BadHello;
use crate::request::BadHead;
use crate::rules::Unlisted;
use crate::target::{BadTarget, Name, Target};
use std::io;
use std::net::IpAddr;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Head(#[from] BadHead),
    #[error("the request did not come within {0} s")]
    SlowHead(u64),
    #[error("{0} is not allowed: {1}")]
    Unlisted(Target, Unlisted),
    #[error(
        "{name} is at {address}, which is not on the public internet ({what}); egress.private does not have it"
    )]
    Address { name: Name, address: IpAddr, what: &'static str },
    #[error("{0} could not be resolved: {1}")]
    Unresolved(Name, io::Error),
    #[error("{0} has no address")]
    NoAddress(Name),
    #[error("{0} was not resolved in time")]
    SlowResolver(Name),
    #[error("{0} could not be reached: {1}")]
    Unreachable(Target, io::Error),
    #[error("{0} could not be reached in time")]
    SlowServer(Target),
    #[error("the tunnel to {0} {1}; a plain one must be allowed by egress.tunnels")]
    Hello(Target, BadHello),
    #[error("the tunnel to {0} is for {1} by its ClientHello (SNI)")]
    OtherName(Target, Name),
    #[error("the ClientHello for {0} did not come in time")]
    SlowHello(Target),
    #[error(
        "TLS with the client for {0}, which a secret is for, failed: {1}; the client must trust the certificates in SSL_CERT_FILE"
    )]
    Client(Target, io::Error),
    #[error("TLS with {0}, which a secret is for, failed: {1}")]
    Server(Target, io::Error),
    #[error("a secret for {0} goes over TLS only: ask for https")]
    Bare(Target),
    #[error("the body of the request is not chunked as it should be")]
    Chunks,
    #[error("the body of the request ended early")]
    Ended,
    #[error("the sandbox has {0} {1} bytes, which is the most")]
    Bytes(Way, u64),
    #[error("there are {0} connections already, which is the most at once")]
    Busy(usize),
    #[error("nothing passed for {0} s")]
    Idle(u64),
    #[error("the connection lasted {0} s, which is the most")]
    Long(u64),
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the connection ended with its sandbox")]
    Over,
    // The client said nothing at all: a probe, or a browser that connects ahead.
    #[error("the client left")]
    Left,
}

impl Refusal {
    /// The status of an answer that says so.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Head(BadHead::TooLong | BadHead::TooManyFields) => 431,
            Self::Head(BadHead::Scheme | BadHead::Upgrade | BadHead::Target(_, BadTarget::Name(_))) => 403,
            Self::Head(_) | Self::Chunks | Self::Ended | Self::Left => 400,
            Self::SlowHead(_) | Self::SlowHello(_) => 408,
            Self::Bare(_)
            | Self::Unlisted(..)
            | Self::Address { .. }
            | Self::Hello(..)
            | Self::OtherName(..) => 403,
            Self::Bytes(Way::Up, _) => 413,
            Self::Bytes(Way::Down, _) => 403,
            Self::Unresolved(..)
            | Self::NoAddress(_)
            | Self::Unreachable(..)
            | Self::Client(..)
            | Self::Server(..)
            | Self::Broken(_)
            | Self::Over => 502,
            Self::SlowResolver(_) | Self::SlowServer(_) | Self::Idle(_) | Self::Long(_) => 504,
            Self::Busy(_) => 503,
        }
    }

    /// Whether it was for the proxy to say no, or the network failed.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Unresolved(..)
            | Self::NoAddress(_)
            | Self::SlowResolver(_)
            | Self::Unreachable(..)
            | Self::Client(..)
            | Self::Server(..)
            | Self::SlowServer(_)
            | Self::Ended
            | Self::Broken(_)
            | Self::Over
            | Self::Left => Verdict::Failed,
            _ => Verdict::Refused,
        }
    }
}
