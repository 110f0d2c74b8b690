//! Connections: refusals at a connect, failures, and recovery.

mod checks;
mod client_certificate;
mod commands;
mod connection;
mod false_server;
mod libpq;
mod like_psql;
mod password_command;
mod pooler;
mod recovery;
mod role;
mod scram;
mod secrets;
mod splitting;
mod tls;
mod tls_limits;
