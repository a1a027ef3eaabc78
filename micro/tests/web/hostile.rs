//! What services say of themselves is text, whatever it looks like.

use std::sync::Arc;

use micro::traffic::{Exchange, Traffic};
use micro_broker::{Broker, Event, Memory, Publisher};
use micro_discover::{Endpoint, Method, Service, Shape};
use tower::ServiceExt;

use crate::site::{Site, event, text};

/// Texts that run where they are not escaped: in elements, in attributes of either quote, in scripts, in links.
pub(crate) const HOSTILE: [&str; 6] = [
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror=window.pwned=1>",
    "' onfocus=window.pwned=1 autofocus '",
    "<svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
];

/// A service that is hostile in every field it may choose.
pub(crate) fn service(text: &str) -> Service {
    // A name may have no slash: that alone is not to save us.
    let name = text.replace('/', "\u{2215}").replace("..", "");
    let mut endpoint = Endpoint::new(name.clone(), "127.0.0.1:1".parse().unwrap());
    endpoint.zone = Some(name.clone());
    endpoint.metadata.insert(text.to_owned(), text.to_owned());
    let mut shape = Shape::default();
    (shape.name, shape.kind) = (text.to_owned(), text.to_owned());
    shape.values = vec![shape.clone()];
    let mut method = Method::new(text);
    (method.request, method.response) = (Some(shape.clone()), Some(shape));
    method.metadata.insert(text.to_owned(), text.to_owned());
    let mut service = Service::new(name.clone()).version(name).endpoint(endpoint);
    service.metadata.insert(text.to_owned(), text.to_owned());
    service.methods = vec![method];
    service
}

/// Nothing in `html` is a tag or an attribute that a service brought.
fn assert_harmless(html: &str) {
    for bad in ["<script>window", "<img", "<svg onload", "href=\"javascript:"] {
        assert!(!html.contains(bad), "{bad} in {html}");
    }
}

#[tokio::test]
async fn no_field_of_an_event_becomes_markup() {
    let broker = Arc::new(Memory::new());
    let site = Site::with("hostile-events", |web| web.broker(broker.clone()));
    let mut stream = site.get("/events/stream?topic=orders").await;
    for text in HOSTILE {
        let mut sent = Event::new("orders", text.to_owned()).id(text);
        sent.headers.insert("x-said", text.parse().unwrap());
        Publisher::new(broker.clone() as Arc<dyn Broker>).oneshot(sent).await.unwrap();
        let row = event(&mut stream).await;
        assert!(row.contains("pwned"), "{row}");
        assert_harmless(&row);
    }
}

#[tokio::test]
async fn no_field_of_a_record_becomes_markup() {
    let traffic = Traffic::new();
    let site = Site::with("hostile", |web| web.traffic(traffic.clone()).namespace(""));
    for text in HOSTILE {
        site.announce(&service(text)).await;
    }
    site.until("/", "pwned").await;
    let mut tap = site.get("/tap/stream").await;
    for each in HOSTILE {
        let service = service(each);
        let mut exchange = Exchange::new(&service.name, each, each, false);
        (exchange.from, exchange.endpoint, exchange.id) = (each.into(), each.into(), each.into());
        traffic.record(exchange);
        assert_harmless(&event(&mut tap).await);
        let name = percent_encoding::utf8_percent_encode(&service.name, percent_encoding::NON_ALPHANUMERIC);
        for path in [
            format!("/services/{name}"),
            format!("/call?service={name}"),
            format!("/registry?service={name}"),
        ] {
            assert_harmless(&site.until(&path, "pwned").await);
        }
        assert_harmless(&text(site.get(&format!("/events?topic={name}")).await).await);
        assert_harmless(&text(site.get(&format!("/{name}/")).await).await);
    }
    for path in ["/", "/topology", "/registry"] {
        assert_harmless(&text(site.get(path).await).await);
    }
}
