//! The check of one database: settings that must agree with each other, and files that have to be
//! readable. It reports every mistake.

use std::collections::BTreeMap;
use std::path::Path;

use tokio_postgres::config::{ChannelBinding, Host};

use crate::settings::bounded;
use crate::settings::columns::ConfigurationsColumns;
use crate::settings::identity::Identity;
use crate::settings::layers::{DEFAULT, Values};
use crate::settings::mistake::{Mistake, remedy_of_unreadable};
use crate::settings::secrets::read_secret;
use crate::settings::sections::Database;
use crate::settings::words::Tls;

/// The check of one database.
pub(super) struct Check<'a> {
    /// `databases.NAME.`
    pub(super) section: String,
    pub(super) values: &'a Values,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Check<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.section)
    }

    fn origin(&self, name: &str) -> &str {
        self.values.origin(&self.key(name))
    }

    fn mismatch(&mut self, name: &str, expected: &str, found: &str, remedy: &str) {
        let mistake = Mistake::mismatch(self.key(name), self.origin(name), expected, found);
        self.mistakes.push(mistake.remedy(remedy));
    }

    pub(super) fn password_file(&mut self, database: &mut Database) {
        let Some(file) = &database.password_file else {
            return;
        };
        if database.password_command.is_some() {
            return self.mismatch(
                "password_command",
                "one of password_file and password_command",
                "both",
                "leave one of them out",
            );
        }
        let key = self.key("password_file");
        match read_secret(file, &key, self.values.origin(&key)) {
            Ok(password) => *database = database.with_password(&password),
            Err(mistake) => self.mistakes.push(mistake),
        }
    }

    pub(super) fn tls(&mut self, database: &Database) {
        let config = &database.access.config;
        let is_unix = |host: &Host| matches!(host, Host::Unix(_));
        let is_socket = config.get_hostaddrs().is_empty() && config.get_hosts().iter().any(is_unix);
        if is_socket && database.tls != Tls::Disable {
            return self.mismatch(
                "tls",
                "\"disable\" for a Unix socket, on which PostgreSQL knows no TLS",
                "another mode",
                "leave out tls, tls_root_cert, tls_cert and tls_key",
            );
        }
        if database.tls == Tls::Disable && config.get_channel_binding() == ChannelBinding::Require {
            return self.mismatch(
                "tls",
                "a connection with TLS for channel_binding=require",
                "\"disable\"",
                "set tls to \"verify-full\", or take channel_binding out",
            );
        }
        let Some(file) = &database.tls_root_cert else {
            return;
        };
        let (what, remedy) = match (database.tls, certificates(file)) {
            (Tls::Disable | Tls::Require, _) => (
                "has no effect, because tls does not ask for the certificate to be verified".into(),
                "set tls to \"verify-full\" or \"verify-ca\", or leave out tls_root_cert",
            ),
            (_, Err(wrong)) => wrong,
            (_, Ok(())) => return,
        };
        let key = self.key("tls_root_cert");
        let mistake = Mistake::new(&key, self.values.origin(&key), what);
        self.mistakes.push(mistake.remedy(remedy));
    }

    /// Reports a certificate of the client that cannot be used.
    pub(super) fn identity(&mut self, database: &Database) {
        let (cert, key) = match (&database.tls_cert, &database.tls_key) {
            (None, None) => return,
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => {
                return self.mismatch(
                    "tls_cert",
                    "a tls_key beside the certificate",
                    "none",
                    "set tls_key, or leave out tls_cert",
                );
            }
            (None, Some(_)) => {
                return self.mismatch(
                    "tls_key",
                    "a tls_cert beside the key",
                    "none",
                    "set tls_cert, or leave out tls_key",
                );
            }
        };
        let (setting, what, remedy) = if database.tls == Tls::Disable {
            let what = "has no effect, because tls is \"disable\"".to_owned();
            let remedy = "set tls to \"verify-full\", \"verify-ca\" or \"require\", or leave out \
                tls_cert and tls_key";
            ("tls_cert", what, remedy.to_owned())
        } else {
            match Identity::read(cert, key) {
                Ok(_) => return,
                Err(error) => (error.setting, error.what, error.remedy),
            }
        };
        let key = self.key(setting);
        let mistake = Mistake::new(&key, self.values.origin(&key), what);
        self.mistakes.push(mistake.remedy(remedy));
    }

    pub(super) fn tables(&mut self, database: &Database) {
        let (agents, configurations) = (&database.agents, &database.configurations);
        if (&agents.schema, &agents.table) != (&configurations.schema, &configurations.table) {
            return;
        }
        let name = match self.origin("configurations.table") {
            DEFAULT => "agents.table",
            _ => "configurations.table",
        };
        self.mismatch(
            name,
            "one table of agents and another of configurations",
            &format!("{}.{} for both", agents.schema, agents.table),
            "name the table that the platform saves, and the one that its runtime reads",
        );
    }

    /// Reports a tenant in one of the two tables alone.
    pub(super) fn tenants(&mut self, database: &Database) {
        let names = ["agents.columns.tenant", "configurations.columns.tenant"];
        let (agents, configurations) = (&database.agents, &database.configurations);
        let tenants = (&agents.columns.tenant, &configurations.columns.tenant);
        let (set, missing) = match tenants {
            (Some(_), None) => (names[0], names[1]),
            (None, Some(_)) => (names[1], names[0]),
            _ => return,
        };
        let remedy = format!("set {missing} as well, or leave out {set}");
        self.mismatch(set, &format!("{missing} beside it"), "none", &remedy);
    }

    /// Reports two uses of one column of the configurations: no statement can write a column twice.
    /// (The columns of the agents are only read.)
    pub(super) fn columns(&mut self) {
        let values = self.values;
        let mut uses = BTreeMap::new();
        for key in ConfigurationsColumns::KEYS {
            let name = key.path.trim_start_matches("databases.*.");
            let Some(column) = values.text(&self.key(name)) else {
                continue;
            };
            let first = *uses.entry(column).or_insert(name);
            if first != name {
                // The message points at the one that a source sets.
                let is_default = self.origin(name) == DEFAULT;
                let (at, other) = if is_default {
                    (first, name)
                } else {
                    (name, first)
                };
                let found = format!(
                    "the one of {}",
                    other.trim_start_matches("configurations.columns.")
                );
                self.mismatch(at, "a column of its own", &found, "name another column");
            }
        }
    }
}

/// Whether a file seems to hold certificates; otherwise the reason and the remedy.
fn certificates(file: &Path) -> Result<(), (String, &'static str)> {
    let remedy = "name a readable PEM file";
    let place = file.display();
    let bytes = bounded::read(file, bounded::LONGEST).map_err(|error| {
        let what = format!("cannot read {place}: {error}");
        (what, remedy_of_unreadable(&error, remedy))
    })?;
    if String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----") {
        Ok(())
    } else {
        let what = format!("expected certificates in PEM form in {place}, found none");
        Err((what, remedy))
    }
}
