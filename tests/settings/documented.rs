//! The documented settings file contains the defaults.

use std::collections::BTreeSet;
use std::fs;

use agent_sync::settings::schema::keys;
use agent_sync::settings::{Loaded, Settings, Sources, Tls};

use super::{URL, database, directory, load, load_in, read};

#[test]
fn the_documented_file_changes_nothing() {
    let mut loaded = load(&sample(), &[]).unwrap();
    assert!(loaded.settings.file.take().is_some());
    let defaults = Settings::load_from(&Sources::default()).unwrap();
    assert_eq!(loaded.settings, defaults.settings);
    let keys = |loaded: &Loaded| {
        loaded
            .entries
            .iter()
            .map(|entry| entry.key.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&loaded), keys(&defaults));
    for entry in &loaded.entries {
        assert_ne!(entry.source, "default", "{} is not in the file", entry.key);
    }
}

fn sample() -> String {
    read("config/agent-sync.toml")
}

/// The sample file with every setting uncommented.
pub(super) fn turned_on() -> String {
    let on = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| !rest.starts_with([' ', ':']))
            .unwrap_or(line)
            .to_owned()
    };
    sample().lines().map(on).collect::<Vec<_>>().join("\n")
}

/// The documented databases contain the defaults when they are uncommented.
#[test]
fn the_documented_databases_hold_the_defaults() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key);
    let (certificate, key) = (certificate.unwrap().pem(), key.serialize_pem());
    let directory = directory(&[
        ("platform_password", "pw"),
        (
            "supabase_url",
            "postgres://postgres.project@aws-0-eu.pooler.supabase.com:5432/postgres",
        ),
        ("supabase-ca.crt", "-----BEGIN CERTIFICATE-----"),
        ("client.crt", &certificate),
        ("client.key", &key),
    ]);
    let place = format!("{}/", directory.path().display());
    let text = turned_on()
        .replace("/run/secrets/", &place)
        .replace("/etc/agent-sync/", &place);
    fs::write(directory.path().join("agent-sync.toml"), text).unwrap();
    let loaded = load_in(&directory, &[]).unwrap();
    assert!(loaded.notes.is_empty() && loaded.settings.rules.file.is_some());

    let url = "postgres://agent_sync:pw@db.example.com:5432/platform?sslmode=verify-full";
    let (documented, plain) = (&loaded.settings.databases["platform"], database(url));
    assert_eq!(documented.connect_config(), plain.connect_config());
    assert_eq!(
        (documented.tls, &documented.tls_root_cert),
        (plain.tls, &plain.tls_root_cert)
    );
    // Tenants have no default, and the sample has an example.
    let mut documented = documented.clone();
    let tenants = (
        documented.agents.columns.tenant.take(),
        documented.configurations.columns.tenant.take(),
    );
    assert!(tenants.0.is_some() && tenants.1.is_some());
    assert_eq!(
        (&documented.agents, &documented.configurations),
        (&plain.agents, &plain.configurations)
    );

    let supabase = &loaded.settings.databases["supabase"];
    assert_eq!(supabase.tls, Tls::VerifyFull);
    assert!(supabase.tls_root_cert.is_some());
}

#[test]
fn every_key_of_a_column_is_the_name_of_a_column() {
    let mut database = database(URL);
    // The two that have no default.
    database.agents.columns.tenant = Some("client_id".to_owned());
    database.configurations.columns.tenant = Some("client_id".to_owned());
    let agents: BTreeSet<_> = database
        .agents
        .columns
        .named()
        .map(|(key, _)| key)
        .collect();
    let configurations = database.configurations.columns.named();
    let configurations: BTreeSet<_> = configurations.map(|(key, _)| key).collect();
    for (section, columns) in [
        ("databases.*.agents.columns.", agents),
        ("databases.*.configurations.columns.", configurations),
    ] {
        let keys: BTreeSet<_> = keys()
            .filter_map(|key| key.path.strip_prefix(section))
            .collect();
        assert_eq!(keys, columns, "{section}");
    }
}
