//! How a session is opened: over the network, or by whatever else can carry its messages.

use crate::config::Config;
use crate::connection::{Inbound, Outbox};
use proto::rpc::v1::spandrel_client::SpandrelClient;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tonic::transport::Endpoint;

/// The message size that servers refuse to exceed, and some room for the frame around it.
const MESSAGE_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// Opens sessions. A cluster inside the same process can implement it and save the network.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens a session with the node at `address`: requests are taken from `outbox`, answers come from the
    /// stream returned. On failure the reason, for people.
    fn dial<'a>(&'a self, address: &'a str, outbox: Outbox) -> Dialing<'a>;
}

/// A session that is being opened.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Inbound, String>> + Send + 'a>>;

/// Over HTTP/2 without encryption.
#[derive(Debug)]
pub(crate) struct DialTonic {
    connect_timeout: Duration,
    probe_interval: Duration,
}

impl DialTonic {
    pub(crate) fn new(config: &Config) -> Self {
        DialTonic { connect_timeout: config.connect_timeout, probe_interval: config.probe_interval }
    }

    async fn open(&self, address: &str, outbox: Outbox) -> Result<Inbound, String> {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| format!("{address} is not HOST:PORT: {e}"))?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.probe_interval)
            .keep_alive_timeout(self.probe_interval)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|e| with_causes(&e))?;
        let answers = SpandrelClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .session(outbox)
            .await
            .map_err(|status| status.to_string())?;
        Ok(Box::pin(answers.into_inner()))
    }
}

impl Dial for DialTonic {
    fn dial<'a>(&'a self, address: &'a str, outbox: Outbox) -> Dialing<'a> {
        Box::pin(self.open(address, outbox))
    }
}

/// The transport's errors say what happened only in their causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
