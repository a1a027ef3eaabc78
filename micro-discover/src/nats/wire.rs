//! What go-micro's registries say to each other over NATS, and on which subjects.

use async_nats::Client;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::link::Trouble;
use crate::gomicro;
use crate::invalid::{Invalid, quoted};
use crate::record::Service;
use crate::said::{Gone, Said};

/// The prefixes that go-micro uses since v5, and used before.
const KNOWN: [&str; 2] = ["micro.nats", "micro.registry.nats"];

/// Where to speak, and where to listen as well.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    spoken: String,
    heard: Vec<String>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { spoken: KNOWN[0].to_owned(), heard: KNOWN.map(str::to_owned).to_vec() }
    }
}

impl Subjects {
    /// Speaks under `prefix`. Listens to both of go-micro's if it is one of them, else to nothing else.
    pub(super) fn new(prefix: &str) -> Result<Self, Invalid> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if prefix.split('.').any(str::is_empty) || !prefix.chars().all(plain) {
            return Err(Invalid::new(format!("prefix {}: it is no plain subject", quoted(prefix))));
        }
        let heard = match KNOWN.contains(&prefix) {
            true => Self::default().heard,
            false => vec![prefix.to_owned()],
        };
        Ok(Self { spoken: prefix.to_owned(), heard })
    }

    /// Where changes are told.
    pub(super) fn changes(&self) -> String {
        format!("{}.watch", self.spoken)
    }

    /// Where changes may be heard.
    pub(super) fn all_changes(&self) -> Vec<String> {
        self.heard.iter().map(|prefix| format!("{prefix}.watch")).collect()
    }

    /// Where questions are asked and heard.
    pub(super) fn all_questions(&self) -> Vec<String> {
        self.heard.iter().map(|prefix| format!("{prefix}.query")).collect()
    }
}

/// A question or a change.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    action: &'a str,
    #[serde(borrow)]
    service: Option<&'a RawValue>,
}

/// What is asked.
#[derive(Debug, PartialEq)]
pub(super) enum Question {
    All,
    Of(String),
}

/// What is told.
#[derive(Debug)]
pub(super) enum Change {
    Put(Said),
    Gone(Gone),
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(super) fn question(name: Option<&str>) -> Bytes {
    match name {
        None => Bytes::from_static(br#"{"Action":"list","Service":null}"#),
        Some(name) => {
            let name = serde_json::Value::from(name);
            let service =
                format!(r#"{{"name":{name},"version":"","metadata":null,"endpoints":null,"nodes":null}}"#);
            Bytes::from(format!(r#"{{"Action":"get","Service":{service}}}"#))
        }
    }
}

/// Reads a question; what is none is nobody's.
pub(super) fn read_question(json: &[u8]) -> Option<Question> {
    let message: Message<'_> = serde_json::from_slice(json).ok()?;
    match message.action {
        "list" => Some(Question::All),
        "get" => {
            serde_json::from_str::<Named>(message.service?.get()).ok().map(|named| Question::Of(named.name))
        }
        _ => None,
    }
}

pub(super) fn change(action: &str, said: &[u8]) -> Bytes {
    Bytes::from([br#"{"Action":""#, action.as_bytes(), br#"","Service":"#, said, b"}"].concat())
}

/// Reads a change. What is none, or breaks a rule of ours, is passed over.
pub(super) fn read_change(json: &[u8]) -> Option<Change> {
    let message: Message<'_> = serde_json::from_slice(json).ok()?;
    let service = message.service?.get().as_bytes();
    match message.action {
        "create" | "update" | "override" => gomicro::decode_said(service).ok().map(Change::Put),
        "delete" => gomicro::decode_gone(service).ok().map(Change::Gone),
        _ => None,
    }
}

/// `said` in as few messages as the server takes.
pub(super) fn in_pieces(said: &Said, most: usize) -> Vec<Vec<u8>> {
    let whole = gomicro::encode_said(said);
    let endpoints = &said.service.endpoints;
    if whole.len() <= most || endpoints.len() < 2 {
        return vec![whole];
    }
    let half = |endpoints: &[crate::Endpoint]| {
        let service = Service { endpoints: endpoints.to_vec(), ..said.service.clone() };
        in_pieces(&Said { service, ..said.clone() }, most)
    };
    let (front, back) = endpoints.split_at(endpoints.len() / 2);
    [half(front), half(back)].concat()
}

/// How large a message may be, with room for what is around a record.
pub(super) fn room(client: &Client) -> usize {
    const AROUND: usize = 1024;
    client.max_payload().saturating_sub(AROUND).max(AROUND)
}

pub(super) async fn publish(client: &Client, subject: String, payload: Bytes) -> Result<(), Trouble> {
    client.publish(subject, payload).await.map_err(Trouble::refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_those_of_go_micro() {
        let recorded = br#"{"Service":{"name":"greeter","version":"","metadata":null,"endpoints":null,"nodes":null},"Action":"get"}"#;
        assert_eq!(read_question(recorded), Some(Question::Of("greeter".to_owned())));
        let ours: serde_json::Value = serde_json::from_slice(&question(Some("greeter"))).unwrap();
        assert_eq!(ours, serde_json::from_slice::<serde_json::Value>(recorded).unwrap());
        assert_eq!(read_question(br#"{"Service":null,"Action":"list"}"#), Some(Question::All));
        assert_eq!(read_question(&question(None)), Some(Question::All));
        for junk in [&b""[..], b"null", b"{}", b"{\"Action\":\"get\",\"Service\":null}", b"\xff"] {
            assert_eq!(read_question(junk), None);
        }
    }

    #[test]
    fn changes_are_those_of_go_micro() {
        let created = br#"{"Service":{"name":"greeter","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"metadata":{"transport":"nats"},"id":"greeter-ID1","address":"_INBOX.Jf3onzDglHMTWBsnPCv4oM"}]},"Action":"create"}"#;
        let Some(Change::Put(said)) = read_change(created) else { panic!("no change") };
        assert_eq!((said.ttl, said.service.endpoints[0].id.as_str()), (None, "greeter-ID1"));
        let gone = change("delete", &gomicro::encode_said(&said));
        assert!(
            matches!(read_change(&gone), Some(Change::Gone(gone)) if crate::beliefs::is_gone(&gone, &said.service))
        );
        for junk in [
            &b""[..],
            b"{}",
            b"{\"Action\":\"create\",\"Service\":null}",
            b"{\"Action\":\"x\",\"Service\":{}}",
        ] {
            assert!(read_change(junk).is_none());
        }
    }

    #[test]
    fn what_is_too_large_for_one_message_is_said_in_several() {
        let many = (0..100).map(|n| crate::Endpoint::new(format!("e{n}"), "h:1".parse().unwrap()));
        let service = many.fold(Service::new("greeter"), Service::endpoint);
        let said = Said { service: service.clone(), ttl: None, owner: None };
        let pieces = in_pieces(&said, 1_000);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 1_000));
        let read = pieces.iter().flat_map(|piece| gomicro::decode_said(piece).unwrap().service.endpoints);
        assert_eq!(read.collect::<Vec<_>>(), service.endpoints);
    }
}
