//! `spandrel init`.

use clap::Args;
use client::Client;

use super::{Failure, print, runtime};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Any node of the cluster, HOST:PORT.
    #[arg(long, env = "SPANDREL_URL", default_value = "127.0.0.1:7420")]
    pub(super) url: String,
}

pub(super) fn init(args: &InitArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = Client::connect([args.url.as_str()]).await.map_err(Failure::run_time)?;
        let answer = client.init().await.map_err(Failure::run_time)?;
        let what = if answer.existed { "was initialised before" } else { "is initialised" };
        let cluster: String = answer.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect();
        print(&format!("cluster {cluster} {what}, with {} nodes\n", answer.nodes.len()))
    })
}
