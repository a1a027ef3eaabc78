//! The dashboard in a real browser, against services that run. The steps are in `browser/check.mjs`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::{any, get};
use axum::{Router, extract};
use micro::command::Context;
use micro::web::Web;
use micro_discover::{Endpoint, Registry, Service};
use tokio::net::TcpListener;

use crate::hostile;
use crate::peer::{Reflection, serve};

/// Whether this machine has a browser and what drives it; says what it lacks.
fn browser() -> Option<&'static str> {
    let modules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/browser/node_modules/playwright-core");
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-headless-shell", "/usr/bin/google-chrome"];
    let found = chromium.into_iter().find(|path| Path::new(path).exists());
    let node = Command::new("node").arg("--version").output().is_ok();
    let lacks = match found {
        None => "no chromium",
        Some(_) if !node => "no node on PATH",
        Some(_) if !modules.exists() => "no playwright-core: npm ci in micro/tests/web/browser",
        Some(_) => return found,
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "the browser test cannot run: {lacks}");
    println!("skipped: {lacks}");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_in_a_browser() {
    let Some(chromium) = browser() else { return };
    let context = Context::open("memory:web-browser").unwrap();
    let registry = context.registry().clone();
    for id in ["a", "b"] {
        let address = serve(id, Reflection::V1).await;
        put(&registry, "echo", id, &address).await;
    }
    for text in hostile::HOSTILE {
        registry.announce(&hostile::service(text), Duration::ZERO).await.unwrap();
    }
    let app = listen(Router::new().route("/", get(page)).route("/ws", any(socket))).await;
    put(&registry, "go.micro.web.shop", "shop", &app).await;
    let web = listen(Web::builder(context).build().router()).await;
    let control = listen(control(registry)).await;

    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/browser/check.mjs");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(steps)
            .env("CHROMIUM", chromium)
            .env("WEB", format!("http://{web}"))
            .env("CONTROL", format!("http://{control}"))
            .env("SHOTS", shots)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    println!("{told}");
}

async fn put(registry: &Arc<dyn Registry>, name: &str, id: &str, address: &str) {
    let record = Service::new(name).endpoint(Endpoint::new(id, address.parse().unwrap()));
    registry.announce(&record, Duration::ZERO).await.unwrap();
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// `POST /withdraw/{id}` takes the replica of `echo` out of the registry.
fn control(registry: Arc<dyn Registry>) -> Router {
    let withdraw = move |extract::Path(id): extract::Path<String>| async move {
        for mut record in registry.get("echo").await.unwrap() {
            record.endpoints.retain(|endpoint| endpoint.id == id);
            registry.withdraw(&record).await.unwrap();
        }
    };
    Router::new().route("/withdraw/{id}", axum::routing::post(withdraw))
}

async fn page() -> axum::response::Html<&'static str> {
    axum::response::Html("<!doctype html><title>Shop</title><h1>Shop</h1>")
}

async fn socket(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message @ Message::Text(_))) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
