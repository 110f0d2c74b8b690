//! The unit files, the image and the package name existing things and agree with each other and
//! with the program.

use std::path::Path;
use std::process::Command;

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
    // Cargo reads the manifest of every member of the workspace.
    let manifest = read("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1;
    let members: Vec<_> = members.split(']').next().unwrap().split('"').collect();
    for member in members.into_iter().skip(1).step_by(2) {
        let needed = format!("{member}/Cargo.toml");
        assert!(sources.contains(&&*needed), "{needed} is copied");
    }
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

/// The files of a package: their sources and their targets.
fn assets(package: &str) -> Vec<(String, String)> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"][package]["assets"].as_array();
    assets
        .unwrap()
        .iter()
        .map(|asset| {
            let [source, target] = match asset.as_array() {
                Some(asset) => [&asset[0], &asset[1]],
                None => [&asset["source"], &asset["dest"]],
            };
            let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
            (
                text(source),
                format!("/{}", text(target).trim_start_matches('/')),
            )
        })
        .collect()
}

#[test]
fn the_packages_hold_files_that_there_are() {
    for package in ["deb", "generate-rpm"] {
        let assets = assets(package);
        assert!(assets.len() > 12, "{assets:?}");
        for (source, target) in assets {
            let made = source.starts_with("target/");
            assert!(made || path(&source).exists(), "{package}: {source}");
            if package == "generate-rpm" && !source.contains('*') {
                assert!(!target.ends_with('/'), "{source} has a name: {target}");
            }
        }
    }
    for script in ["post", "preun", "postun"] {
        let name = format!("packaging/rpm/{script}.sh");
        assert!(
            read("Cargo.toml").contains(&format!("_script = \"{name}\"")),
            "{name}"
        );
        assert!(path(&name).exists(), "{name}");
    }
}

/// The documents of the packages link to files that both packages have.
#[test]
fn a_packaged_document_links_to_packaged_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .arg(path("scripts/docs.sh"))
        .arg(folder.path())
        .status();
    assert!(made.unwrap().success());
    let link = regex_lite::Regex::new(r"\]\(([^)#\s]+)[^)]*\)").unwrap();
    let (mut folders, mut links) = (vec![folder.path().to_owned()], 0);
    while let Some(within) = folders.pop() {
        for entry in std::fs::read_dir(&within).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let own = within.strip_prefix(folder.path()).unwrap();
            let own = own.display().to_string() + if own == Path::new("") { "" } else { "/" };
            let source = format!("target/package/doc/{own}*");
            let target = format!("/usr/share/doc/agent-sync/{own}");
            for package in ["deb", "generate-rpm"] {
                let asset = (source.clone(), target.clone());
                assert!(assets(package).contains(&asset), "{package}: {asset:?}");
            }
            if file.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for found in link.captures_iter(&text) {
                let to = &found[1];
                if !to.contains(':') {
                    links += 1;
                    assert!(within.join(to).exists(), "{}: {to}", file.display());
                }
            }
        }
    }
    assert!(links > 60, "{links}");
    let page = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
    assert!(
        page.contains(" ARCHITECTURE.md, CONTRIBUTING.md, [docs/"),
        "{page}"
    );
}

/// Where both tools are installed, the RPM is made, of a placeholder of the program, and rpm finds
/// its files, scripts and settings.
#[test]
fn rpm_reads_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let script = "set -e
        for name in Cargo.toml packaging config README.md; do cp -r \"$0/$name\" .; done
        mkdir -p src target/release target/package/man
        touch src/main.rs src/lib.rs
        cp \"$1\" target/release/agent-sync
        \"$1\" man --into target/package/man
        touch target/package/agent-sync.bash target/package/_agent-sync
        touch target/package/agent-sync.fish
        sh \"$0/scripts/docs.sh\" target/package/doc
        sed -i '/^members/d' Cargo.toml
        cargo generate-rpm --target-dir target --auto-req disabled --payload-compress none";
    let run = |script: &str| {
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(path(""))
            .arg(env!("CARGO_BIN_EXE_agent-sync"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        (output.status.success(), text.concat())
    };
    for tool in ["cargo generate-rpm --help", "rpm --version"] {
        if !run(tool).0 {
            return eprintln!("skipped: there is no `{tool}`");
        }
    }
    let (made, said) = run(script);
    assert!(made, "{said}");
    let query = |what: &str| {
        let (done, said) = run(&format!("rpm -qp {what} target/generate-rpm/*.rpm"));
        assert!(done, "{what}: {said}");
        said
    };
    let list = query("--list");
    for file in [
        "/usr/bin/agent-sync",
        "/usr/lib/systemd/system/agent-sync.service",
        "/etc/agent-sync/agent-sync.toml",
        "/usr/share/doc/agent-sync/README.md",
        "/usr/share/doc/agent-sync/docs/operating.md",
        "/usr/share/doc/agent-sync/packaging/agent-sync.container",
        "/usr/share/man/man1/agent-sync.1",
        "/usr/share/man/man1/agent-sync-check.1",
        "/usr/share/man/man5/agent-sync.toml.5",
        "/usr/share/bash-completion/completions/agent-sync",
    ] {
        assert!(list.lines().any(|line| line == file), "{file} in {list}");
    }
    assert!(query("--configfiles").contains("/etc/agent-sync/agent-sync.toml"));
    assert!(query("--scripts").contains("systemctl --no-reload preset agent-sync.service"));
    assert!(query("--requires").contains("systemd"));
    assert!(query("--info").contains("MIT OR Apache-2.0"));
}

/// The image and the packages are built with the list of the crates in the program.
#[test]
fn the_builds_of_packages_name_the_crates() {
    let dockerfile = read("Dockerfile");
    assert!(
        dockerfile.contains("cargo install --locked --version "),
        "a version of the tool"
    );
    assert_eq!(
        dockerfile
            .matches("cargo auditable build --release --locked")
            .count(),
        2
    );
    assert!(
        !dockerfile.contains("cargo build"),
        "no build without the list"
    );
    assert!(read("scripts/package.sh").contains("cargo auditable build --release --locked"));
}

/// A deployment page names no settings file that the program refuses, such as a device.
#[test]
fn the_pages_name_no_settings_file_that_is_refused() {
    let mut pages = 0;
    for entry in std::fs::read_dir(path("docs")).unwrap() {
        let page = entry.unwrap().path();
        let name = page.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("deploy-") {
            continue;
        }
        pages += 1;
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(!text.contains("--config /dev/"), "{name}");
    }
    assert!(pages > 4);
}

/// Every script can be run by its name.
#[test]
fn every_script_is_executable() {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(path("scripts")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}", entry.path().display());
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
    for folder in ["standalone", "postgres-example"] {
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
