//! The unit files, the image and the package name existing things and agree with each other and
//! with the program.

use agent_sync::exit::Exit;
use agent_sync::settings::{Settings, Sources};

use super::{path, read};

const UNITS: [&str; 3] = [
    "packaging/agent-sync.service",
    "packaging/agent-sync.container",
    "packaging/agent-sync-container.service",
];

/// Every unit starts without waiting for other units, and restarts unless a restart changes
/// nothing.
#[test]
fn every_unit_restarts_unless_a_restart_changes_nothing() {
    for name in UNITS {
        let unit = read(name);
        let usage = format!("RestartPreventExitStatus={}", Exit::Usage as u8);
        for line in [
            "Restart=always",
            &usage,
            "StartLimitBurst=10",
            "WantedBy=multi-user.target",
        ] {
            assert!(unit.lines().any(|own| own == line), "{name} says {line}");
        }
        assert!(
            unit.contains("After=network-online.target postgresql.service"),
            "{name}"
        );
        for line in ["Requires=", "BindsTo=", "PartOf="] {
            assert!(
                !unit.contains(line),
                "{name} must not depend on the database: {line}"
            );
        }
        assert!(
            unit.contains("agent-sync config --check\nExecReload="),
            "{name} checks the settings before a reload"
        );
    }
}

#[test]
fn i4_a_unit_waits_longer_for_the_end_than_the_daemon_does() {
    let grace = Settings::load_from(&Sources::default())
        .unwrap()
        .settings
        .shutdown
        .grace_period;
    for name in UNITS {
        let unit = read(name);
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="))
            .unwrap();
        assert!(line.parse::<u64>().unwrap() > grace.as_secs(), "{name}");
    }
}

#[test]
fn the_image_is_built_of_what_the_build_context_holds() {
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"));
    let sources: Vec<_> = copied
        .flat_map(|line| line.split(' ').rev().skip(1).collect::<Vec<_>>())
        .collect();
    assert!(sources.len() >= 6, "{sources:?}");
    for source in sources {
        assert!(path(source).exists(), "{source}");
        assert!(
            ignored.lines().any(|line| line == format!("!{source}")),
            "{source} is in the build context"
        );
    }
    let version = format!("ARG VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(dockerfile.contains(&version), "{version}");
}

#[test]
fn what_the_code_embeds_is_in_the_image() {
    let ignored = read(".dockerignore");
    let mut files = vec![path("src")];
    let mut embedded = 0;
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(
                std::fs::read_dir(&file)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let text = String::from_utf8(std::fs::read(&file).unwrap()).unwrap();
        for name in text
            .split("include_str!(\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
        {
            let target = file.parent().unwrap().join(name).canonicalize().unwrap();
            let target = target
                .strip_prefix(path("").canonicalize().unwrap())
                .unwrap()
                .to_owned();
            let top = target
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap()
                .to_owned();
            assert!(
                ignored.lines().any(|line| line == format!("!{top}")),
                "{} needs {}",
                file.display(),
                target.display()
            );
            embedded += 1;
        }
    }
    assert!(embedded > 5);
}

#[test]
fn the_package_holds_files_that_there_are() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"]
        .as_array()
        .unwrap();
    assert!(assets.len() > 8);
    for asset in assets {
        let source = asset[0].as_str().unwrap();
        let made = source.starts_with("target/");
        assert!(
            made || source.contains('*') || path(source).exists(),
            "{source}"
        );
    }
}

/// A release finds each text that it replaces once.
#[test]
fn a_release_finds_what_it_replaces() {
    let release: toml::Table = toml::from_str(&read("release.toml")).unwrap();
    let replacements = release["pre-release-replacements"].as_array().unwrap();
    assert!(replacements.len() > 2);
    for replacement in replacements {
        let file = replacement["file"].as_str().unwrap();
        let search = regex_lite::Regex::new(replacement["search"].as_str().unwrap()).unwrap();
        assert_eq!(search.find_iter(&read(file)).count(), 1, "{file}");
    }
}

/// The package has the MIT licence in its copyright file, and refers to Debian's copy of the other.
#[test]
fn the_package_has_the_licences_of_the_repository() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let file = manifest["package"]["metadata"]["deb"]["license-file"][0].as_str();
    let copyright = read(file.unwrap());
    assert!(copyright.starts_with("Format: "), "cargo-deb adds no head");
    let mit: Vec<_> = read("LICENSE-MIT")
        .lines()
        .skip(4)
        .map(|line| format!(" {}", if line.is_empty() { "." } else { line }))
        .collect();
    assert!(
        mit.len() > 10 && copyright.contains(&mit.join("\n")),
        "{copyright}"
    );
    assert!(copyright.contains("\nLicense: Apache-2.0\n"), "{copyright}");
    assert!(read("LICENSE-APACHE").contains("Version 2.0, January 2004"));
}

#[test]
fn s20_every_unit_gives_the_daemon_a_folder_for_its_socket() {
    let socket = Settings::load_from(&Sources::default())
        .unwrap()
        .settings
        .admin
        .socket;
    let folder = socket.parent().unwrap().to_str().unwrap();
    let name = folder.strip_prefix("/run/").unwrap();
    let tmpfs = format!("--tmpfs={folder}:size=64k,mode=1777");
    for (file, line) in [
        (
            "packaging/agent-sync.service",
            format!("RuntimeDirectory={name}\nRuntimeDirectoryMode=0700\n"),
        ),
        (
            "packaging/agent-sync.container",
            format!("PodmanArgs={tmpfs}\n"),
        ),
        (
            "packaging/agent-sync-container.service",
            format!("{tmpfs} \\\n"),
        ),
        (
            "packaging/compose.yaml",
            format!("tmpfs: [\"{folder}:size=64k,mode=1777\"]\n"),
        ),
    ] {
        assert!(read(file).contains(&line), "{file} says {line}");
    }
}

#[test]
fn s24_grafana_has_no_default_password() {
    let compose = read("packaging/compose.yaml");
    let (_, grafana) = compose.split_once("\n  grafana:\n").unwrap();
    let grafana = grafana.split("\n\n").next().unwrap();
    assert!(
        grafana.contains("GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_password\n"),
        "{grafana}"
    );
    assert!(
        grafana.contains("secrets: [grafana_password]\n"),
        "{grafana}"
    );
    let page = read("docs/deploy-compose.md");
    assert!(
        page.contains("for name in postgres agent_sync grafana; do"),
        "the page makes each password"
    );
}

#[test]
fn s24_a_port_that_others_reach_has_a_network_policy() {
    for folder in ["standalone", "sidecar-example"] {
        let file = |name: &str| read(&format!("packaging/kubernetes/{folder}/{name}"));
        assert!(
            file("kustomization.yaml").contains("\n  - networkpolicy.yaml\n"),
            "{folder}"
        );
        let policy = file("networkpolicy.yaml");
        for line in [
            "kind: NetworkPolicy",
            "policyTypes: [Ingress]",
            "{ port: 9878, protocol: TCP }",
        ] {
            assert!(policy.contains(line), "{folder}: {line}");
        }
        // The network policy opens the daemon's port to a namespace by its name.
        let (before, _) = policy.split_once("port: 9878").unwrap();
        let from = before.rsplit("- from:").next().unwrap();
        assert!(
            from.contains("kubernetes.io/metadata.name: monitoring"),
            "{folder}: {from}"
        );
    }
    let compose = read("packaging/compose.yaml");
    assert!(!compose.contains(":9878\""), "the port is not published");
    for unit in UNITS {
        assert!(
            read(unit).contains("\n#IPAddressDeny=any\n#IPAddressAllow="),
            "{unit} has an example"
        );
    }
}

#[test]
fn s24_every_image_can_be_pinned_by_digest() {
    let dockerfile = read("Dockerfile");
    for from in dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM "))
    {
        let argument = from
            .split(' ')
            .next()
            .unwrap()
            .strip_prefix('$')
            .unwrap_or_else(|| panic!("{from}"));
        assert!(
            dockerfile.contains(&format!("\nARG {argument}=")),
            "{argument}"
        );
        assert!(
            read("docs/building.md").contains(&format!("--build-arg {argument}=")),
            "{argument}"
        );
    }
    let compose = read("packaging/compose.yaml");
    let images: Vec<_> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .collect();
    assert!(images.len() > 4);
    for image in images {
        let variable = image
            .strip_prefix("${")
            .and_then(|rest| rest.split(":-").next());
        assert!(
            variable.is_some_and(|name| read("docs/building.md").contains(&format!("`{name}`"))),
            "{image}"
        );
    }
}
