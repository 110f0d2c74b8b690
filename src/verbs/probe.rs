//! `probe live|ready`: ask the daemon that runs on this host how it is, for health checks in an image without a shell.

use std::path::Path;

use anyhow::anyhow;

use crate::admin::ask::{ask, reachable};
use crate::cli::Probe;
use crate::exit::{Exit, Fault};
use crate::settings;

/// Exits with 0 if the answer is yes, with 1 if it is no, and with 69 if there is none.
pub fn probe(config: Option<&Path>, args: &Probe) -> anyhow::Result<Exit> {
    let listen = match args.listen {
        Some(address) => Some(address),
        None => settings::load_or_fault(config)?.settings.admin.listen,
    };
    let Some(address) = listen.filter(|address| address.port() != 0) else {
        let fault = Fault::usage("the settings do not say where the daemon can be asked (admin.listen)");
        return Err(fault
            .remedy("set admin.listen to an address and a port, or name them with --listen")
            .into());
    };
    let question = args.question;
    super::block_on(async move {
        match ask(address, question.path()).await {
            Ok((200, answer)) => {
                // Whether it can be said has nothing to do with the daemon.
                let _ = super::output::say(answer.trim_end());
                Ok(Exit::Done)
            }
            Ok((status, answer)) => {
                let what =
                    format!("the daemon says that it is not {} (HTTP status {status})", question.word());
                Err(anyhow!("{}", answer.trim_end()).context(Fault::new(Exit::Failed, what)))
            }
            Err(error) => {
                let what = format!("the daemon cannot be asked at {}", reachable(address));
                let fault = Fault::unavailable(what).remedy("see whether it runs, and its admin.listen");
                Err(anyhow::Error::new(error).context(fault))
            }
        }
    })
}
