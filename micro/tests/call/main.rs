//! Calls of methods that are known at run time only, against real servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers too fail by panicking")]

#[path = "../peer/mod.rs"]
mod peer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use micro::call::{Call, Caller, Documents, Error, documents, one};
use micro::schema::{self, Json, Schema};
use micro_discover::{Announce, Endpoint, Memory, Registry, Service};
use peer::{Reflection, serve};
use tonic::Code;

fn caller() -> Caller {
    Caller::new(Arc::new(Memory::default()))
}

/// Calls, and takes all answers.
async fn all(caller: &Caller, call: Call, documents: Documents) -> Result<Vec<String>, Error> {
    let mut answers = caller.call(call, documents).await?;
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?.json(&Json::new()).unwrap());
    }
    Ok(all)
}

fn to(address: &str, method: &str) -> Call {
    Call::new(address.parse().unwrap(), method).timeout(Duration::from_secs(20))
}

#[tokio::test]
async fn every_kind_of_method_is_called_by_reflection_of_either_version() {
    for reflection in [Reflection::V1, Reflection::V1Alpha] {
        let (caller, address) = (caller(), serve("a", reflection).await);
        let cases = [
            ("Unary", r#"{"text":"hi"}"#, &[r#"{"text":"hi"}"#][..]),
            ("test.v1.Echo/Many", r#"{"number":"2"}"#, &["{}", r#"{"number":"1"}"#]),
            ("Echo.Sum", r#"{"number":40}{"number":"2"}"#, &[r#"{"number":"42"}"#]),
            ("/test.v1.Echo/Chat", r#"{"text":"a"} {"text":"b"}"#, &[r#"{"text":"a"}"#, r#"{"text":"b"}"#]),
        ];
        for (method, sent, answered) in cases {
            assert_eq!(
                all(&caller, to(&address, method), documents(sent)).await.unwrap(),
                answered,
                "{method}"
            );
        }
    }
}

#[tokio::test]
async fn well_known_types_maps_and_choices_survive_the_way_there_and_back() {
    let (caller, address) = (caller(), serve("a", Reflection::V1).await);
    let all_of_it = r#"{"text":"é","number":"-9223372036854775808","at":"2026-11-25T21:00:00.000000001Z","counts":{"a":1},"wait":"1.500s","list":["x",""],"mood":"MOOD_GOOD"}"#;
    let answered = all(&caller, to(&address, "Unary"), one(all_of_it)).await.unwrap();
    assert_eq!(answered, [all_of_it]);
}

#[tokio::test]
async fn both_sides_of_a_conversation_take_turns() {
    let (caller, address) = (caller(), serve("a", Reflection::V1).await);
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async { Some((Ok(said.recv().await?), said)) });
    say.send(r#"{"text":"first"}"#.into()).await.unwrap();
    let mut answers = caller.call(to(&address, "Chat"), Documents::new(said)).await.unwrap();
    for (answer, next) in [("first", "second"), ("second", "third")] {
        let heard = answers.next().await.unwrap().unwrap().json(&Json::new()).unwrap();
        assert!(heard.contains(answer), "{heard}");
        say.send(format!(r#"{{"text":"{next}"}}"#).into()).await.unwrap();
    }
    // A mistake in the middle ends the call, and is its error.
    answers.next().await.unwrap().unwrap();
    say.send("{\"nothing\":1}".into()).await.unwrap();
    let Some(Err(error @ Error::Input(_))) = answers.next().await else { panic!("a mistake is an error") };
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_before_anything_is_sent() {
    let (caller, address) = (caller(), serve("a", Reflection::V1).await);
    for (sent, what) in [
        ("", "there is none"),
        ("{}{}", "there are more"),
        (r#"{"nmber":1}"#, "unrecognized field name 'nmber'"),
        ("{", "EOF"),
    ] {
        let error = all(&caller, to(&address, "Unary"), documents(sent)).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, Error::Input(_)) && cause.contains(what), "{cause}");
    }
    let error = all(&caller, to(&address, "Unry"), one("{}")).await.unwrap_err();
    let Error::Schema(schema::Error::NoMethod { like, .. }) = error else { panic!("{error}") };
    assert_eq!(like.as_deref(), Some("test.v1.Echo/Unary"));
}

#[tokio::test]
async fn a_status_a_deadline_and_headers_are_the_calls_own() {
    let (caller, address) = (caller(), serve("a", Reflection::V1).await);
    let error = all(&caller, to(&address, "Fail"), one(r#"{"number":5}"#)).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::NotFound, "NOT_FOUND: as you asked"));

    let slow = to(&address, "Slow").timeout(Duration::from_millis(50));
    let error = all(&caller, slow, one(r#"{"number":60000}"#)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);

    let call = to(&address, "Unary").header("x-token".parse().unwrap(), "secret".parse().unwrap());
    let answers = caller.call(call, one("{}")).await.unwrap();
    assert_eq!(answers.headers().get("x-token").unwrap(), "secret");
}

#[tokio::test]
async fn a_service_is_found_by_its_name_and_one_endpoint_by_its_id_or_address() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::default());
    let mut announced = Vec::new();
    let mut addresses = Vec::new();
    for id in ["a", "b", "c"] {
        let address = serve(id, Reflection::V1).await;
        let record = Service::new("echo").endpoint(Endpoint::new(id, address.parse().unwrap()));
        announced.push(Announce::new(registry.clone(), record).start().await.unwrap());
        addresses.push(address);
    }
    let caller = Caller::new(registry);
    assert!(all(&caller, to("echo", "Unary"), one("{}")).await.unwrap()[0].contains("text"));
    for (id, address) in ["a", "b", "c"].iter().zip(&addresses) {
        for name in [id, address.as_str()] {
            let answers = all(&caller, to("echo", "Unary").endpoint(name), one("{}")).await.unwrap();
            assert_eq!(answers, [format!(r#"{{"text":"{id}"}}"#)]);
        }
    }
}

#[tokio::test]
async fn without_reflection_a_descriptor_set_or_proto_file_does() {
    let address = serve("a", Reflection::None).await;
    let error = all(&caller(), to(&address, "Unary"), one("{}")).await.unwrap_err();
    assert!(matches!(error, Error::Schema(schema::Error::NoReflection(_))), "{error:?}");

    let given = caller().schema(Schema::decode(&peer::set()).unwrap());
    assert_eq!(all(&given, to(&address, "Unary"), one("{}")).await.unwrap(), [r#"{"text":"a"}"#]);
}

#[tokio::test]
async fn many_answers_come_as_they_are_made_and_dropping_them_ends_the_call() {
    let (caller, address) = (caller(), serve("a", Reflection::V1).await);
    let mut answers = caller.call(to(&address, "Many"), one(r#"{"number":"1000000000"}"#)).await.unwrap();
    for _ in 0..100 {
        answers.next().await.unwrap().unwrap();
    }
    drop(answers);
    let numbers: Vec<_> = stream::iter(0..10)
        .then(|_| async { all(&caller, to(&address, "Unary"), one("{}")).await.unwrap().len() })
        .collect()
        .await;
    assert_eq!(numbers, [1; 10]);
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_said_by_name() {
    let error = all(&caller(), to("nobody", "Unary"), one("{}")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let cause = micro_tower::status::grpc(error.into()).message().to_owned();
    assert!(cause.contains("nobody"), "{cause}");
}
