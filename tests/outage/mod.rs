//! Connections: what is refused at a connect, what breaks, and what comes back.

mod checks;
mod connection;
mod pooler;
mod recovery;
mod secrets;
mod tls;
