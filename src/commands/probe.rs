//! `probe live|ready`: asks the daemon on this host for its health, for health checks in an image
//! without a shell.
//!
//! The question goes to the Unix socket, which only the daemon can have created (S20). If the
//! socket is absent or the command line names a port, the question goes to the port, with a warning
//! that any program of the host can listen there.

use std::fmt::Display;
use std::io;
use std::path::Path;

use anyhow::anyhow;

use crate::admin::ask::{AskError, ask, ask_socket, reachable};
use crate::cli::{Probe, Question};
use crate::exit::{Exit, Fault};
use crate::show::Clean;

/// Exits with 0 for yes, with 1 for no, and with 69 without an answer.
pub fn probe(config: Option<&Path>, args: &Probe) -> anyhow::Result<Exit> {
    let (socket, listen) = if args.listen.is_some() {
        (None, args.listen)
    } else {
        let admin = super::load(config)?.settings.admin;
        (Some(admin.socket), admin.listen)
    };
    let question = args.question;
    super::block_on(async move {
        let mut why = "named by --listen".to_owned();
        if let Some(socket) = socket {
            let place = socket.display();
            match ask_socket(&socket, question.path()).await {
                Ok(answer) => return answered(question, answer),
                Err(AskError::Network(cause)) if is_out_of_reach(&cause) => {
                    why = format!("{place}: {cause}");
                }
                Err(error) => return Err(unanswered(place, "admin.socket", error)),
            }
        }
        let Some(address) = listen.filter(|address| address.port() != 0) else {
            let what = "the settings have no address of the daemon (admin.listen)";
            let remedy = "set admin.listen to an address and a port, or name them with --listen";
            return Err(Fault::usage(what).remedy(remedy).into());
        };
        let address = reachable(address);
        match ask(address, question.path()).await {
            Ok(answer) => {
                super::output::say_aside(&Clean::lines(&format!(
                    "agent-sync: the answer comes from {address}, where any program can listen; \
                    whether it is the daemon's cannot be told without its Unix socket ({why})\n"
                )));
                answered(question, answer)
            }
            Err(error) => Err(unanswered(address, "admin.listen", error)),
        }
    })
}

/// Whether the socket is absent or closed to this user.
fn is_out_of_reach(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}

fn answered(question: Question, (status, answer): (u16, String)) -> anyhow::Result<Exit> {
    let answer = answer.trim_end();
    if status == 200 {
        // A failed write to standard output is no fault of the daemon.
        let _ = super::output::say(answer);
        return Ok(Exit::Done);
    }
    let what = format!(
        "the daemon says that it is not {} (HTTP status {status})",
        question.word()
    );
    Err(anyhow!("{answer}").context(Fault::new(Exit::Failed, what)))
}

fn unanswered(place: impl Display, key: &str, error: AskError) -> anyhow::Error {
    let what = format!("the daemon does not answer at {place}");
    let remedy = format!("check that the daemon runs, and check {key} in its settings");
    let fault = Fault::unavailable(what).remedy(remedy);
    anyhow::Error::new(error).context(fault)
}
