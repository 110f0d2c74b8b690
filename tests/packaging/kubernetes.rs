//! The manifests, built by kustomize and validated against the schemas of Kubernetes, if both tools
//! are available.
//!
//! `kubectl` (1.21 or later) builds them; `kubernetes-validate`, a Python package with the schemas,
//! validates them. CI installs it with `scripts/validators.sh`.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::path;

/// The validator of `scripts/validators.sh`, or the one on the PATH.
fn validator() -> PathBuf {
    let own = path("target/validators/bin/kubernetes-validate");
    if own.exists() {
        own
    } else {
        "kubernetes-validate".into()
    }
}

/// Runs a program; `None` if it is not installed.
fn output(mut command: Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let program = command.get_program().display().to_string();
            eprintln!("skipped: {program} cannot be run ({error})");
            None
        }
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// The output of kustomize for a directory; `None` if it cannot be run.
fn built(folder: &str) -> Option<String> {
    let mut command = Command::new("kubectl");
    command.arg("kustomize").arg(path(folder));
    let output = output(command)?;
    if text(&output).contains("unknown command") || text(&output).contains("Component") {
        eprintln!("skipped: this kubectl knows no components");
        return None;
    }
    assert!(output.status.success(), "{folder}: {}", text(&output));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Validates the text strictly: an unknown key is a mistake.
fn validate(manifests: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifests.yaml");
    std::fs::write(&file, manifests).unwrap();
    let mut command = Command::new(validator());
    command.arg("--strict").arg(&file);
    output(command)
}

#[test]
fn the_manifests_are_what_kubernetes_takes() {
    for folder in [
        "packaging/kubernetes/standalone",
        "packaging/kubernetes/sidecar-example",
    ] {
        let Some(manifests) = built(folder) else {
            return;
        };
        let Some(output) = validate(&manifests) else {
            return;
        };
        assert!(
            output.status.success() && text(&output).contains("passed"),
            "{folder}: {}",
            text(&output)
        );
        assert!(manifests.contains("kind: NetworkPolicy"), "{folder}");
        let wrong = manifests.replace("livenessProbe:", "livelinessProbe:");
        assert_ne!(wrong, manifests);
        let output = validate(&wrong).unwrap();
        assert!(
            !output.status.success(),
            "a mistake is noticed: {}",
            text(&output)
        );
    }
}

#[test]
fn the_component_puts_one_container_beside_the_database() {
    let Some(manifests) = built("packaging/kubernetes/sidecar-example") else {
        return;
    };
    let (names, of_agent_sync) = (
        manifests.matches("- name: postgres\n"),
        manifests.matches("image: localhost/agent-sync:latest"),
    );
    assert_eq!(
        (names.count() > 0, of_agent_sync.count()),
        (true, 1),
        "{manifests}"
    );
    for line in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
    ] {
        assert!(manifests.contains(line), "{line}: {manifests}");
    }
}
