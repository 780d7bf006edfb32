//! What packaging/ has for compose and Kubernetes: objects that their readers take, pods of the restricted profile, and configurations
//! that a gateway takes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::python::python;

const KUBERNETES: [&str; 5] =
    ["network-policy.yaml", "postgres-deployment.yaml", "postgres-statefulset.yaml", "postgres.yaml", "sqlite.yaml"];
/// The user of the image.
const USER: u64 = 65532;
/// Where secrets are mounted.
const SECRETS: &str = "/run/secrets/formgate";

fn packaging() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// Returns what is wrong with manifests, and how many documents they have.
async fn problems(files: &[PathBuf]) -> (Vec<Value>, usize) {
    let ran = python("manifests.py").args(files).output().await.expect("it runs");
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let documents = told["documents"].as_object().expect("documents").values();
    let count = documents.map(|of_file| of_file.as_array().expect("a list").len()).sum();
    (told["problems"].as_array().expect("problems").clone(), count)
}

/// Returns the documents of manifests.
async fn documents(files: &[PathBuf]) -> Vec<Value> {
    let ran = python("manifests.py").arg("--unchecked").args(files).output().await.expect("it runs");
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let documents = told["documents"].as_object().expect("documents").values();
    documents.flat_map(|of_file| of_file.as_array().expect("a list").clone()).collect()
}

/// Returns the objects of some files of packaging/kubernetes.
async fn objects(files: &[&str]) -> Vec<Value> {
    let paths: Vec<PathBuf> = files.iter().map(|file| packaging().join("kubernetes").join(file)).collect();
    documents(&paths).await
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

async fn compose() -> Value {
    documents(&[packaging().join("compose/compose.yaml")]).await.remove(0)
}

#[tokio::test]
async fn manifests_fit_the_schemas_of_those_who_read_them() {
    let found = fs::read_dir(packaging().join("kubernetes")).expect("manifests").filter_map(Result::ok);
    let mut names: Vec<String> = found.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    assert_eq!(names, KUBERNETES, "the tests here look at all manifests");
    let mut files: Vec<PathBuf> = names.iter().map(|name| packaging().join("kubernetes").join(name)).collect();
    files.push(packaging().join("compose/compose.yaml"));
    assert_eq!(problems(&files).await, (Vec::new(), 10));
}

#[tokio::test]
async fn a_mistake_in_a_manifest_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let mistakes = [
        ("kubernetes/sqlite.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("kubernetes/sqlite.yaml", "apiVersion: apps/v1", "apiVersion: apps/v1beta1"),
        ("kubernetes/postgres.yaml", "maxUnavailable: 1", "maxUnavailable: {}"),
        // The reader makes this one of the sites' files.
        (
            "kubernetes/postgres.yaml",
            "kind: ConfigMap\nmetadata:\n  name: formgate",
            "kind: ConfigMap\nmetadata:\n  name: formgate-sites",
        ),
        ("compose/compose.yaml", "read_only", "readonly"),
    ];
    for (file, right, wrong) in mistakes {
        let text = fs::read_to_string(packaging().join(file)).expect("a manifest");
        assert!(text.contains(right), "{file} has no {right}");
        let copy = folder.path().join("copy.yaml");
        fs::write(&copy, text.replacen(right, wrong, 1)).expect("written");
        assert!(!problems(&[copy]).await.0.is_empty(), "{file} with {wrong} is taken");
    }
}

#[tokio::test]
async fn every_pod_keeps_the_restricted_profile() {
    let objects = objects(&KUBERNETES).await;
    let pods: Vec<&Value> =
        objects.iter().map(|object| &object["spec"]["template"]["spec"]).filter(|pod| pod.is_object()).collect();
    assert_eq!(pods.len(), 3);
    for pod in pods {
        let user = &pod["securityContext"];
        assert_eq!((&user["runAsNonRoot"], &user["seccompProfile"]["type"]), (&true.into(), &"RuntimeDefault".into()));
        assert_eq!((&user["runAsUser"], &user["fsGroup"]), (&USER.into(), &USER.into()));
        assert_eq!(pod["automountServiceAccountToken"], false);
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(forbidden).is_none(), "{forbidden}");
        }
        let containers = pod["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 1);
        let context = &containers[0]["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
        // Longer than the wait before the signal and the 20 seconds that a stop takes.
        let waits = containers[0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or_default();
        assert!(pod["terminationGracePeriodSeconds"].as_u64().expect("a number") >= waits + 30);
        for volume in pod["volumes"].as_array().expect("volumes") {
            let is_allowed = ["configMap", "secret", "emptyDir"].iter().any(|kind| volume.get(kind).is_some());
            assert!(is_allowed, "{volume}");
        }
    }
}

/// What is applied together, of each kind of installation.
const TOGETHER: [&[&str]; 3] = [
    &["sqlite.yaml", "network-policy.yaml"],
    &["postgres.yaml", "postgres-statefulset.yaml", "network-policy.yaml"],
    &["postgres.yaml", "postgres-deployment.yaml", "network-policy.yaml"],
];

/// Returns the object that has pods.
fn workload(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["spec"]["template"].is_object()).expect("pods")
}

#[tokio::test]
async fn probes_ask_the_admin_listener() {
    for files in TOGETHER {
        let objects = objects(files).await;
        let container = &workload(&objects)["spec"]["template"]["spec"]["containers"][0];
        let config = of_kind(&objects, "ConfigMap")[0]["data"]["config.toml"].as_str().expect("text");
        let port = |name: &str| {
            let mut ports = container["ports"].as_array().expect("ports").iter();
            ports.find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64()).expect("a port")
        };
        let listens = |table: &str, port: u64| {
            let of_table = config.split(table).nth(1).expect("a table");
            of_table.split("\n[").next().is_some_and(|keys| keys.contains(&format!("listen = \"0.0.0.0:{port}\"")))
        };
        assert!(listens("[server]", port("http")) && listens("[admin]", port("admin")), "{config}");
        let probes = [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")];
        for (probe, path) in probes {
            assert_eq!(container[probe]["httpGet"], serde_json::json!({ "path": path, "port": "admin" }));
        }
    }
}

#[tokio::test]
async fn services_budgets_and_policies_are_of_the_pods() {
    for files in TOGETHER {
        let objects = objects(files).await;
        let workload = workload(&objects);
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&workload["spec"]["selector"]["matchLabels"], labels);
        let services = of_kind(&objects, "Service");
        assert_eq!(services.len(), 1);
        assert_eq!(&services[0]["spec"]["selector"], labels);
        let ports: Vec<&Value> = services[0]["spec"]["ports"].as_array().expect("ports").iter().collect();
        assert!(ports.len() == 1 && ports[0]["targetPort"] == "http", "the admin listener is exposed: {ports:?}");
        let budgets = of_kind(&objects, "PodDisruptionBudget");
        assert_eq!(budgets.len(), usize::from(files[0] == "postgres.yaml"));
        assert!(budgets.iter().all(|budget| &budget["spec"]["selector"]["matchLabels"] == labels));
        assert_eq!(&of_kind(&objects, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"], labels);
    }
}

#[tokio::test]
async fn data_outlives_the_pod_wherever_there_are_volumes() {
    for files in TOGETHER {
        let objects = objects(files).await;
        let spec = &workload(&objects)["spec"];
        let mounts = spec["template"]["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts");
        let data = mounts.iter().find(|mount| mount["mountPath"] == "/var/lib/formgate").expect("the data folder");
        if workload(&objects)["kind"] == "StatefulSet" {
            assert_eq!(spec["volumeClaimTemplates"][0]["metadata"]["name"], data["name"]);
            let kept = serde_json::json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
            assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], kept);
        } else {
            // What fills up an emptyDir to its limit deletes the pod, and the spool with it.
            let volumes = spec["template"]["spec"]["volumes"].as_array().expect("volumes");
            let volume = volumes.iter().find(|volume| volume["name"] == data["name"]).expect("a volume");
            assert_eq!(volume["emptyDir"], serde_json::json!({}));
        }
    }
}

/// Checks a configuration whose paths become those of a folder, with all the secrets that it names; returns the warnings.
fn check(text: &str, sites: &[(&str, &str)], secrets: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let here = |text: &str| {
        let path = |name: &str| at.join(name).display().to_string();
        text.replace(secrets, &path("secrets"))
            .replace("/etc/formgate-sites", &path("sites"))
            .replace("/var/lib/formgate", &path("data"))
    };
    for name in ["secrets", "sites", "data"] {
        fs::create_dir(at.join(name)).expect("a folder");
    }
    let key = |kind: &str| format!("{kind}{}", "0".repeat(32));
    let values = [
        ("admin_token", "0".repeat(43)),
        ("database_url", "postgres://formgate:secret@db.example/formgate".to_owned()),
        ("acme_public_key", key("wp_pk_")),
        ("acme_secret_key", key("wp_sk_")),
    ];
    for (name, value) in values {
        fs::write(at.join("secrets").join(name), value).expect("written");
    }
    for (name, site) in sites {
        fs::write(at.join("sites").join(name), here(site)).expect("written");
    }
    fs::write(at.join("config.toml"), here(text)).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_formgate"));
    command.arg("check").current_dir(at).env_clear().env("CREDENTIALS_DIRECTORY", at.join("secrets"));
    let ran = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("ok  config.toml"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    said.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
}

/// The file of a site whose keys are in a folder.
fn site(secrets: &str) -> String {
    format!(
        "id = \"acme\"\nurl = \"https://www.acme.example\"\nregion = \"US\"\n\
         public_key = {{ file = \"{secrets}/acme_public_key\" }}\n\
         secret_key = {{ file = \"{secrets}/acme_secret_key\" }}\n\
         tokens = [{{ sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\" }}]\n"
    )
}

#[tokio::test]
async fn the_configurations_in_manifests_pass_the_check() {
    for file in ["sqlite.yaml", "postgres.yaml"] {
        let objects = objects(&[file]).await;
        let maps = of_kind(&objects, "ConfigMap");
        let config = maps[0]["data"]["config.toml"].as_str().expect("text");
        let warnings = check(config, &[("acme.toml", site(SECRETS).as_str())], SECRETS);
        // It is how the kubelet and Prometheus reach it; the page says so.
        assert_eq!(warnings, ["the admin listener uses plain HTTP on a public address (every interface)"]);
    }
}

#[test]
fn the_configuration_beside_the_compose_file_passes_the_check() {
    let text = fs::read_to_string(packaging().join("compose/formgate/config.toml")).expect("a configuration");
    assert_eq!(check(&text, &[("acme.toml", site("/run/secrets").as_str())], "/run/secrets"), Vec::<String>::new());
}

#[tokio::test]
async fn the_services_of_the_compose_file_are_confined() {
    let compose = compose().await;
    let services = compose["services"].as_object().expect("services");
    assert_eq!(services.keys().collect::<Vec<_>>(), ["formgate", "postgres"]);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert!(service["healthcheck"]["test"].is_array() && service["stop_grace_period"].is_string(), "{name}");
        for secret in service["secrets"].as_array().expect("secrets") {
            let secret = &compose["secrets"][secret.as_str().expect("a name")];
            assert!(secret["file"].as_str().is_some_and(|file| file.starts_with("./secrets/")), "{name}: {secret}");
        }
    }
    let gateway = &services["formgate"];
    assert_eq!(gateway["ports"], serde_json::json!(["127.0.0.1:8080:8080"]), "the admin listener is published");
    // The peer that config.toml trusts is the one from which this machine's connections come.
    let config = fs::read_to_string(packaging().join("compose/formgate/config.toml")).expect("a configuration");
    let network = &compose["networks"]["front"]["ipam"]["config"][0]["gateway"];
    assert!(config.contains(&format!("trusted_proxies = [\"{}/32\"]", network.as_str().expect("an address"))));
    assert_eq!(compose["networks"]["database"]["internal"], true);
    assert!(!Path::new(&packaging().join("compose/secrets")).exists(), "secrets are made on the operator's machine");
}
