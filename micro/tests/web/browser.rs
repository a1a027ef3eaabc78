//! The dashboard in a real browser, against services that run. The steps are in `browser/check.mjs`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::{any, get};
use micro::command::Context;
use micro::web::{Login, Web};
use micro_discover::{Endpoint, Registry, Service};
use tokio::net::TcpListener;

use crate::hostile;
use crate::peer::{Reflection, serve};

/// Whether this machine has a browser and what drives it; says what it lacks.
pub(crate) fn browser() -> Option<&'static str> {
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
    put(&registry, "echo", "a", &serve("a", Reflection::V1).await).await;
    let lives = Arc::new(AtomicBool::new(true));
    tokio::spawn(live(registry.clone(), serve("b", Reflection::V1).await, lives.clone()));
    for text in hostile::HOSTILE {
        registry.announce(&hostile::service(text), Duration::ZERO).await.unwrap();
    }
    let app = listen(Router::new().route("/", get(page)).route("/ws", any(socket))).await;
    put(&registry, "go.micro.web.shop", "shop", &app).await;
    put(&registry, "go.micro.web.evil", "evil", &app).await;
    let token = Web::builder(context.clone()).login(Login::token("open sesame")).read_only(true).build();
    let token = listen(token.router()).await;
    let apps = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = Web::builder(context).apps_at(apps.local_addr().unwrap().port()).build();
    let apps = serve_at(apps, web.apps_router());
    let web = listen(web.router()).await;
    let control = listen(control(registry, lives)).await;

    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/browser/check.mjs");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(steps)
            .env("CHROMIUM", chromium)
            .env("WEB", format!("http://{web}"))
            .env("APPS", format!("http://{apps}"))
            .env("LOGIN", format!("http://{token}"))
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

pub(crate) async fn listen(router: Router) -> String {
    serve_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), router)
}

fn serve_at(listener: TcpListener, router: Router) -> String {
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Announces the replica `b` of `echo`, again and again, until it dies.
async fn live(registry: Arc<dyn Registry>, address: String, lives: Arc<AtomicBool>) {
    let record = Service::new("echo").endpoint(Endpoint::new("b", address.parse().unwrap()));
    while lives.load(Relaxed) {
        registry.announce(&record, Duration::from_secs(3)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `POST /die` is the silent end of the replica `b`, `POST /list` says what is in the registry.
fn control(registry: Arc<dyn Registry>, lives: Arc<AtomicBool>) -> Router {
    let die = move || {
        lives.store(false, Relaxed);
        std::future::ready(())
    };
    let list = move || {
        let registry = registry.clone();
        async move {
            let names = registry.list().await.unwrap().into_iter().map(|service| service.name);
            names.collect::<Vec<_>>().join("\n")
        }
    };
    Router::new().route("/die", axum::routing::post(die)).route("/list", axum::routing::post(list))
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
