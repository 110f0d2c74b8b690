//! The manifests, built by kustomize and validated against the schemas of Kubernetes, if both tools
//! are available.
//!
//! `kubectl` (1.21 or later) builds them; `kubernetes-validate`, a Python package with the schemas,
//! validates them. CI installs it with `scripts/validators.sh`.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::{path, read};

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
        "packaging/kubernetes/native-sidecar-example",
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

/// Each sidecar is the same container, and the native one starts with the init containers.
#[test]
fn the_components_put_one_container_beside_the_database() {
    let mut containers = Vec::new();
    for (folder, native) in [("sidecar-example", false), ("native-sidecar-example", true)] {
        let Some(manifests) = built(&format!("packaging/kubernetes/{folder}")) else {
            return;
        };
        let (names, of_agent_sync) = (
            manifests.matches("name: postgres\n"),
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
        let (_, container) = manifests
            .split_once("      - args:\n        - run\n")
            .unwrap();
        let end = container.find("\n      volumes:").into_iter();
        let end = end.chain(container.find("\n      - env:")).min().unwrap();
        let container = &container[..end];
        let policy = "        restartPolicy: Always\n";
        assert_eq!(container.contains(policy), native, "{container}");
        assert_eq!(
            manifests.contains("      initContainers:\n      - args:"),
            native
        );
        containers.push(container.replace(policy, ""));
    }
    assert_eq!(containers[0], containers[1]);
}

/// The monitor selects the pods of each way, and their ports by name.
#[test]
fn the_pod_monitor_finds_the_pods_and_their_ports() {
    let monitor = read("packaging/kubernetes/monitoring/podmonitor.yaml");
    assert!(
        monitor.contains("matchExpressions:\n      - { key: agent-sync, operator: Exists }"),
        "{monitor}"
    );
    for (file, port) in [
        ("standalone/deployment.yaml", "admin"),
        ("sidecar/kustomization.yaml", "agent-sync"),
        ("native-sidecar/kustomization.yaml", "agent-sync"),
    ] {
        let manifest = read(&format!("packaging/kubernetes/{file}"));
        let (_, template) = manifest.split_once("template:\n").unwrap();
        let (metadata, _) = template.split_once("spec:\n").unwrap();
        assert!(metadata.contains(" agent-sync: "), "{file}: {metadata}");
        let of_pod = format!("- {{ name: {port}, containerPort: 9878 }}");
        assert!(manifest.contains(&of_pod), "{file}: {of_pod}");
        let of_monitor = format!("- {{ port: {port}, path: /metrics,");
        assert!(monitor.contains(&of_monitor), "{of_monitor}");
    }
    // As a component of another kustomization.
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-r"])
        .arg(path("packaging/kubernetes"))
        .arg(folder.path().join("all"))
        .status();
    assert!(copied.unwrap().success());
    let file = folder.path().join("all/standalone/kustomization.yaml");
    let text = std::fs::read_to_string(&file).unwrap() + "components:\n  - ../monitoring\n";
    std::fs::write(&file, text).unwrap();
    if let Some(manifests) = built(file.parent().unwrap().to_str().unwrap()) {
        assert!(manifests.contains("kind: PodMonitor"), "{manifests}");
    }
}
