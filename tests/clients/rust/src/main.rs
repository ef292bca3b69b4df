//! One dialogue with kube-rs: each step prints a line, or the program ends with what was wrong.

use std::{error::Error, pin::pin, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResource, CustomResourceExt, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::DynamicObject,
    discovery::Discovery,
    runtime::{
        WatchStreamExt,
        wait::{await_condition, conditions},
        watcher,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "rust.edgekube.test", version = "v1", kind = "Harbour", namespaced, status = "HarbourStatus", shortname = "hb")]
struct HarbourSpec {
    berths: u16,
    #[serde(default = "quiet")]
    mood: String,
}

fn quiet() -> String {
    "quiet".into()
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct HarbourStatus {
    taken: u16,
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer of the API: {other}"),
    }
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"a": value}})).unwrap()
}

async fn objects(client: &Client, namespace: &str) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut made = maps.create(&PostParams::default(), &config_map("one", "1")).await?;
    assert_eq!(code(maps.create(&PostParams::default(), &config_map("one", "1")).await.unwrap_err()), 409);

    let patched = maps.patch("one", &PatchParams::default(), &Patch::Merge(json!({"data": {"b": "2"}}))).await?;
    assert_eq!(patched.data.unwrap().len(), 2);
    made.data.as_mut().unwrap().insert("a".into(), "3".into());
    assert_eq!(code(maps.replace("one", &PostParams::default(), &made).await.unwrap_err()), 409);

    let apply = |manager: &str| PatchParams::apply(manager);
    let wanted = |value: &str| Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": value}}));
    maps.patch("one", &apply("first"), &wanted("1")).await?;
    assert_eq!(code(maps.patch("one", &apply("second"), &wanted("2")).await.unwrap_err()), 409);
    let forced = maps.patch("one", &apply("second").force(), &wanted("2")).await?;
    assert_eq!(forced.data.unwrap()["x"], "2");
    assert!(forced.metadata.managed_fields.unwrap().iter().any(|entry| entry.manager.as_deref() == Some("second")));

    let listed = maps.list(&ListParams::default().labels("app=one")).await?;
    assert_eq!(listed.items.len(), 1);
    let shown = maps.list_metadata(&ListParams::default()).await?;
    assert!(shown.items.iter().any(|item| item.name_any() == "one"));
    maps.delete("one", &DeleteParams::default()).await?;
    assert!(maps.get_opt("one").await?.is_none());
    Ok(())
}

async fn watching(client: &Client, namespace: &str) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let start = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &config_map("seen", "1")).await?;
    let mut stream = pin!(maps.watch(&WatchParams::default().labels("app=seen"), &start).await?.boxed());
    assert!(matches!(stream.try_next().await?, Some(WatchEvent::Added(map)) if map.name_any() == "seen"));
    maps.delete("seen", &DeleteParams::default()).await?;
    assert!(matches!(stream.try_next().await?, Some(WatchEvent::Deleted(_))));

    // The list comes as a watch, ended by its bookmark.
    let config = watcher::Config::default().labels("app=streamed").streaming_lists();
    maps.create(&PostParams::default(), &config_map("streamed", "1")).await?;
    let mut applied = pin!(watcher(maps.clone(), config).applied_objects());
    assert_eq!(applied.try_next().await?.unwrap().name_any(), "streamed");
    maps.patch("streamed", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await?;
    assert_eq!(applied.try_next().await?.unwrap().data.unwrap()["a"], "2");
    Ok(())
}

async fn own_kind(client: &Client, namespace: &str) -> Outcome {
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = Harbour::crd_name();
    kinds.patch(name, &PatchParams::apply("rust"), &Patch::Apply(Harbour::crd())).await?;
    await_condition(kinds.clone(), name, conditions::is_crd_established()).await?;

    let harbours: Api<Harbour> = Api::namespaced(client.clone(), namespace);
    let given = json!({"apiVersion": "rust.edgekube.test/v1", "kind": "Harbour", "metadata": {"name": "north"}, "spec": {"berths": 4}});
    let made = harbours.create(&PostParams::default(), &serde_json::from_value(given)?).await?;
    assert_eq!((made.spec.berths, made.spec.mood.as_str()), (4, "quiet"));

    let status = json!({"spec": {"berths": 9}, "status": {"taken": 2}});
    let shown = harbours.patch_status("north", &PatchParams::default(), &Patch::Merge(status)).await?;
    assert_eq!((shown.spec.berths, shown.status.unwrap().taken), (4, 2), "a status is only a status");
    assert_eq!(shown.metadata.generation, Some(1));
    let negative = json!({"spec": {"berths": -1}});
    assert_eq!(code(harbours.patch("north", &PatchParams::default(), &Patch::Merge(negative)).await.unwrap_err()), 422);

    let found = Discovery::new(client.clone()).filter(&["rust.edgekube.test"]).run().await?;
    let (resource, _) = found.get("rust.edgekube.test").unwrap().recommended_kind("Harbour").unwrap();
    let dynamic: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    assert_eq!(dynamic.get("north").await?.data["status"]["taken"], 2);

    kinds.delete(name, &DeleteParams::default()).await?;
    await_condition(kinds, name, conditions::is_deleted(made.metadata.uid.as_deref().unwrap_or_default())).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (namespace, part) = (arguments.next().unwrap(), arguments.next().unwrap());
    let client = Client::try_default().await?;
    let spaces: Api<Namespace> = Api::all(client.clone());
    spaces.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": namespace}}))?).await?;
    let limit = Duration::from_secs(60);
    match part.as_str() {
        "objects" => tokio::time::timeout(limit, objects(&client, &namespace)).await??,
        "watching" => tokio::time::timeout(limit, watching(&client, &namespace)).await??,
        "own_kind" => tokio::time::timeout(limit, own_kind(&client, &namespace)).await??,
        other => panic!("no part is called {other}"),
    }
    spaces.delete(&namespace, &DeleteParams::default()).await?;
    println!("{part} ok");
    Ok(())
}
