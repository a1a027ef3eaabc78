//! The manifests that a cluster's user applies are what the API server takes, fit together, and ask for no more than
//! is used.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/manifests.rs"]
mod manifests;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use manifests::documents;

/// `document` as its type, which knows every one of its fields.
fn typed<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let read: T =
        serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{document}: {error}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), *document, "nothing is misspelt");
    read
}

fn only<T: DeserializeOwned + Serialize>(documents: &[Value], kind: &str, name: &str) -> T {
    let ours = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    let mut found = documents.iter().filter(ours);
    let (one, more) = (found.next(), found.next());
    assert!(one.is_some() && more.is_none(), "one {kind} called {name}");
    typed(one.unwrap())
}

#[test]
fn a_role_gives_what_is_used_and_nothing_else_to_the_account_it_is_bound_to() {
    let slices = ("discovery.k8s.io", "endpointslices", &["list", "watch"][..]);
    for (file, account, role, (group, resource, verbs)) in [
        ("rbac.yaml", "greeter-client", "find-services", slices),
        ("rbac-pods.yaml", "go-micro", "announce-on-pods", ("", "pods", &["list", "watch", "patch"][..])),
    ] {
        let documents = documents(file);
        assert_eq!(documents.len(), 3, "{file}");
        let _account: ServiceAccount = only(&documents, "ServiceAccount", account);
        let rules = only::<Role>(&documents, "Role", role).rules;
        let wanted = json!([{ "apiGroups": [group], "resources": [resource], "verbs": verbs }]);
        assert_eq!(serde_json::to_value(rules).unwrap(), wanted, "{file}");
        let binding: RoleBinding = only(&documents, "RoleBinding", role);
        assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("Role", role));
        let subjects: Vec<_> = binding.subjects.iter().flatten().map(|it| (&*it.kind, &*it.name)).collect();
        assert_eq!(subjects, [("ServiceAccount", account)]);
    }
}

#[test]
fn the_service_finds_the_pods_of_the_server_and_the_client_opens_a_registry_that_names_their_port() {
    let documents = documents("greeter.yaml");
    assert_eq!(documents.len(), 3);
    let service = only::<Service>(&documents, "Service", "greeter").spec.unwrap();
    let server: Deployment = only(&documents, "Deployment", "greeter");
    let template = server.spec.template;
    assert_eq!(service.selector, template.metadata.unwrap().labels);
    let pod = template.spec.unwrap();
    let container = &pod.containers[0];
    let port = &service.ports.as_ref().unwrap()[0];
    let named = container.ports.as_ref().unwrap()[0].name.clone().unwrap();
    assert_eq!(serde_json::to_value(&port.target_port).unwrap(), named);
    assert!(container.readiness_probe.is_some(), "ready is what clients go by");

    let client: Deployment = only(&documents, "Deployment", "greeter-client");
    let pod = client.spec.template.spec.unwrap();
    let account = pod.service_account_name.clone().unwrap();
    only::<ServiceAccount>(&self::documents("rbac.yaml"), "ServiceAccount", &account);
    let variables = pod.containers[0].env.as_ref().unwrap();
    let registry = variables.iter().find(|variable| variable.name == "MICRO_REGISTRY").unwrap();
    let mut url = registry.value.clone().unwrap();
    for variable in variables {
        url = url.replace(&format!("$({})", variable.name), "shop");
    }
    assert!(url.contains(&format!("port={}", port.name.as_ref().unwrap())), "{url}");
    assert_eq!(micro_discover::open(&url).unwrap().backend(), "kubernetes", "{url}");
}
