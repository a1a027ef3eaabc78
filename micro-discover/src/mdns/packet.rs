//! The messages of multicast DNS: questions, endpoints that are there or gone, and the names of services.
//!
//! go-micro takes one endpoint from a message, so each endpoint has a message of its own.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::names::{Domain, is_spelled_out};
use super::text::{self, Place};
use crate::said::{Gone, Said};

/// For how many seconds a record may be kept by who knows nothing of ours.
const TTL: u32 = 120;
/// The port of a service's name among all services: there is nothing at it.
const LISTED_PORT: u16 = 9999;
/// How many questions of one message are answered.
pub(super) const MOST_QUESTIONS: usize = 16;
/// What fits into a datagram, with room to spare.
const LARGEST: usize = 60_000;
/// The bit in a question's class that asks for an answer to the asker alone.
const TO_ME: u16 = 1 << 15;

/// Questions, as they came: an answer repeats them, or go-micro does not take it for one.
pub(super) struct Asked {
    id: u16,
    questions: Vec<Query>,
    /// What whoever asks knows already, and for long enough: names, and what is of that name.
    known: Vec<(Name, Name)>,
}

impl Asked {
    /// Whether it is asked of whatever has this name.
    pub(super) fn of(&self, name: &Name) -> bool {
        self.questions.iter().any(|question| question.name == *name)
    }

    /// Whether it is asked of these, or of one of them.
    pub(super) fn about(&self, group: &Name) -> bool {
        self.questions.iter().any(|question| group.zone_of(&question.name))
    }

    /// Whether whoever asks knows that `instance` is of the name `group`: it is not to be told again, by
    /// <https://www.rfc-editor.org/rfc/rfc6762#section-7.1>.
    pub(super) fn knows(&self, group: &Name, instance: &Name) -> bool {
        self.known.iter().any(|(known, of_it)| known == group && of_it == instance)
    }

    /// Whether the answer is for who asked alone.
    pub(super) fn is_alone(&self) -> bool {
        self.questions.iter().any(|question| u16::from(question.query_class) & TO_ME != 0)
    }
}

/// What a message tells.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Put(Said),
    Gone(Gone),
    /// There is a service of this name.
    Listed(String),
}

impl Heard {
    /// Who says so, if it is one of us.
    pub(super) fn owner(&self) -> Option<&String> {
        match self {
            Self::Put(said) => said.owner.as_ref(),
            Self::Gone(gone) => gone.owner.as_ref(),
            Self::Listed(_) => None,
        }
    }
}

/// A message that was read.
pub(super) enum Packet {
    Questions(Asked),
    /// `asked` tells an answer from what is told to everyone.
    News {
        asked: bool,
        heard: Vec<Heard>,
    },
}

/// Asks for what has one of these names.
pub(super) fn ask(names: impl IntoIterator<Item = Name>) -> Option<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_queries(names.into_iter().map(|name| Query::query(name, RecordType::PTR)));
    message.to_vec().ok()
}

/// Says what `said`, which is of one endpoint, says: to who asked, or else unasked.
pub(super) fn put(asked: Option<&Asked>, domain: &Domain, said: &Said, ips: &[IpAddr]) -> Option<Vec<u8>> {
    endpoint(asked, domain, said, ips, TTL)
}

/// Says that the endpoint is gone.
pub(super) fn gone(domain: &Domain, said: &Said, ips: &[IpAddr]) -> Option<Vec<u8>> {
    endpoint(None, domain, said, ips, 0)
}

fn endpoint(
    asked: Option<&Asked>,
    domain: &Domain,
    said: &Said,
    ips: &[IpAddr],
    ttl: u32,
) -> Option<Vec<u8>> {
    let endpoint = said.service.endpoints.first()?;
    let (service, port) = (&said.service.name, endpoint.address.port().unwrap_or(0));
    let owner = domain.instance(service, &endpoint.id);
    let records = records(domain.service(service), &owner, port, ips, &text::write(said), ttl);
    message(asked, records)
}

/// Says that there is a service of this name.
pub(super) fn listed(asked: &Asked, domain: &Domain, service: &str) -> Option<Vec<u8>> {
    let strings = if is_spelled_out(service) { vec![Vec::new()] } else { text::write_name(service) };
    let nowhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let records = records(domain.services(), &domain.listed(service), LISTED_PORT, &nowhere, &strings, TTL);
    message(Some(asked), records)
}

fn records(
    group: Name,
    instance: &Name,
    port: u16,
    ips: &[IpAddr],
    strings: &[Vec<u8>],
    ttl: u32,
) -> Vec<Record> {
    let strings = TXT::from_bytes(strings.iter().map(Vec::as_slice).collect());
    let of = |data| Record::from_rdata(instance.clone(), ttl, data);
    let mut records = vec![Record::from_rdata(group, ttl, RData::PTR(PTR(instance.clone())))];
    records.push(of(RData::SRV(SRV::new(10, 1, port, instance.clone()))));
    records.extend(ips.iter().map(|ip| match ip {
        IpAddr::V4(ip) => of(RData::A(A(*ip))),
        IpAddr::V6(ip) => of(RData::AAAA(AAAA(*ip))),
    }));
    records.push(of(RData::TXT(strings)));
    records
}

fn message(asked: Option<&Asked>, records: Vec<Record>) -> Option<Vec<u8>> {
    let mut message = Message::response(asked.map_or(0, |asked| asked.id), OpCode::Query);
    message.metadata.authoritative = true;
    message.add_queries(asked.into_iter().flat_map(|asked| asked.questions.iter().cloned()));
    message.add_answers(records);
    message.to_vec().ok().filter(|bytes| bytes.len() <= LARGEST)
}

/// Reads a message. What is not about services of ours or go-micro's is left out.
pub(super) fn read(bytes: &[u8], domains: &[Domain]) -> Option<Packet> {
    // Record by record: hickory refuses a whole message for go-micro's TXT records of no strings.
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let (about, counts) = (header.metadata, header.counts);
    if about.op_code != OpCode::Query || about.response_code != ResponseCode::NoError {
        return None;
    }
    let questions = (0..counts.queries).map(|_| Query::read(&mut decoder));
    let mut questions = questions.collect::<Result<Vec<_>, _>>().ok()?;
    if about.message_type == MessageType::Response {
        let all = u32::from(counts.answers) + u32::from(counts.authorities) + u32::from(counts.additionals);
        let records = (0..all).map(|_| Record::read(&mut decoder));
        let records = records.collect::<Result<Vec<Record>, _>>().ok()?;
        let heard = news(&records.iter().collect::<Vec<_>>(), domains);
        return Some(Packet::News { asked: !questions.is_empty(), heard });
    }
    questions.truncate(MOST_QUESTIONS);
    let answers = (0..counts.answers).map_while(|_| Record::read(&mut decoder).ok());
    let known = answers.filter_map(known).collect();
    (!questions.is_empty()).then_some(Packet::Questions(Asked { id: about.id, questions, known }))
}

/// What a record that came with a question says is known, for half of our TTL at least.
fn known(record: Record) -> Option<(Name, Name)> {
    match record.data {
        RData::PTR(PTR(instance)) if record.ttl >= TTL / 2 => Some((record.name, instance)),
        _ => None,
    }
}

fn news(records: &[&Record], domains: &[Domain]) -> Vec<Heard> {
    let texts = records.iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some((record, &*text.txt_data)),
        _ => None,
    });
    let endpoints = texts.filter_map(|(record, strings)| {
        let place = |service: &str| place(records, &record.name, service, domains);
        let said = text::read(strings, place)?;
        Some(if record.ttl == 0 { Heard::Gone(said.into()) } else { Heard::Put(said) })
    });
    endpoints.chain(records.iter().filter_map(|record| listing(record, records, domains))).collect()
}

/// Where the instance of `service` that is called this is.
fn place(records: &[&Record], instance: &Name, service: &str, domains: &[Domain]) -> Option<Place> {
    let id = domains.iter().find_map(|domain| domain.id(service, instance))?;
    let of = |name: &Name| records.iter().filter(|record| record.name == *name).collect::<Vec<_>>();
    let srv = of(instance).into_iter().find_map(|record| match &record.data {
        RData::SRV(srv) => Some(srv),
        _ => None,
    })?;
    let (mut four, mut six) = (None, None);
    for record in of(&srv.target) {
        match &record.data {
            RData::A(A(ip)) => four = four.or(Some(IpAddr::V4(*ip))),
            RData::AAAA(AAAA(ip)) => six = six.or(Some(IpAddr::V6(*ip))),
            _ => {}
        }
    }
    Some(Place { id, ip: four.or(six), port: srv.port })
}

/// The service of which `record` says that it is among all.
fn listing(record: &Record, records: &[&Record], domains: &[Domain]) -> Option<Heard> {
    let RData::PTR(PTR(instance)) = &record.data else { return None };
    let domain = domains.iter().find(|domain| domain.services() == record.name && record.ttl != 0)?;
    let text = records.iter().find_map(|record| match &record.data {
        RData::TXT(text) if record.name == *instance => text::service(&text.txt_data),
        _ => None,
    });
    text.or_else(|| domain.listed_service(instance)).map(Heard::Listed)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::record::{Endpoint, Method, Service};

    fn domains() -> Vec<Domain> {
        Domain::told_and_heard("micro").unwrap().1
    }

    fn news_of(bytes: &[u8]) -> Vec<Heard> {
        match read(bytes, &domains()) {
            Some(Packet::News { heard, .. }) => heard,
            _ => Vec::new(),
        }
    }

    fn name(text: &str) -> Vec<u8> {
        let labels = text
            .split_terminator('.')
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
        labels.chain([0]).collect()
    }

    fn record(of: &str, kind: u8, ttl: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        [name(of), vec![0, kind, 0, 1, 0, 0, 0, ttl], length.to_vec(), data.to_vec()].concat()
    }

    /// What go-micro says of a node, byte by byte: the host's name between SRV and A, capitals in the JSON.
    fn go_micro(domain: &str, ttl: u8, version: &str) -> Vec<u8> {
        let json = format!(
            r#"{{"Metadata":{{"transport":"http"}},"Service":"greeter","Version":{version},"Endpoints":[{{"name":"Greeter.Hello","request":null,"response":null,"metadata":null}}]}}"#
        );
        let hex = crate::packed::pack(json.as_bytes());
        let strings = hex.as_bytes().chunks(255);
        let text: Vec<u8> =
            strings.flat_map(|part| [&[u8::try_from(part.len()).unwrap()], part].concat()).collect();
        let (group, instance) = (format!("greeter.{domain}."), format!("greeter-ID1.greeter.{domain}."));
        let server = [&[0, 10, 0, 1, 0x1f, 0x90][..], &name("box.")].concat();
        [
            vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0],
            record(&group, 12, ttl, &name(&instance)),
            record(&instance, 33, ttl, &server),
            record("box.", 1, ttl, &[10, 0, 0, 7]),
            record(&instance, 16, ttl, &text),
        ]
        .concat()
    }

    #[test]
    fn an_endpoint_of_go_micro_is_read_in_both_of_its_domains() {
        for domain in ["micro", "local"] {
            let heard = news_of(&go_micro(domain, 120, "\"1.0.0\""));
            let [Heard::Put(said)] = heard.as_slice() else { panic!("{heard:?}") };
            let endpoint =
                Endpoint::new("greeter-ID1", "10.0.0.7:8080".parse().unwrap()).metadata("transport", "http");
            let method = Method::new("Greeter.Hello");
            let service = Service::new("greeter").version("1.0.0").method(method).endpoint(endpoint);
            assert_eq!((&said.service, said.ttl, &said.owner), (&service, None, &None));
            assert!(matches!(news_of(&go_micro(domain, 0, "\"1.0.0\"")).as_slice(), [Heard::Gone(gone)]
                if crate::beliefs::is_gone(gone, &service)));
        }
        assert!(news_of(&go_micro("elsewhere", 120, "null")).is_empty());
        let heard = news_of(&go_micro("micro", 120, "null"));
        assert!(matches!(heard.as_slice(), [Heard::Put(said)] if said.service.version == "latest"));
    }

    #[test]
    fn an_endpoint_of_ours_is_what_go_micro_expects_byte_by_byte() {
        let endpoint = Endpoint::new("a", "10.0.0.7:80".parse().unwrap()).zone("eu").metadata("k", "v");
        let service = Service::new("greeter").metadata("owner", "us").endpoint(endpoint);
        let said = Said { service, ttl: Some(Duration::from_secs(9)), owner: Some("me".to_owned()) };
        let bytes = put(None, &domains()[0], &said, &["10.0.0.7".parse().unwrap()]).unwrap();
        let hex = bytes.iter().take(85).fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let expected = [
            "000084000000000400000000",
            // greeter.micro. PTR a.greeter.micro.
            "0767726565746572056d6963726f00000c000100000078",
            "0004",
            "0161c00c",
            // SRV 10 1 80, itself
            "c0250021000100000078",
        ];
        assert!(hex.starts_with(&expected.concat()), "{hex}");
        assert!(matches!(news_of(&bytes).as_slice(), [Heard::Put(heard)]
            if heard.service == said.service && heard.ttl == said.ttl && heard.owner == said.owner));
        let gone = gone(&domains()[0], &said, &[]).unwrap();
        assert!(matches!(news_of(&gone).as_slice(), [Heard::Gone(gone)]
            if crate::beliefs::is_gone(gone, &said.service)));
    }

    #[test]
    fn services_are_listed_by_name_whatever_it_is() {
        let questions = vec![Query::query(domains()[0].services(), RecordType::PTR)];
        let asked = Asked { id: 7, questions, known: Vec::new() };
        for service in ["greeter", "go.micro.srv", ".hidden", "Grüße", &"x".repeat(255)] {
            let bytes = listed(&asked, &domains()[0], service).unwrap();
            assert_eq!(bytes[..2], [0, 7]);
            assert!(
                matches!(news_of(&bytes).as_slice(), [Heard::Listed(name)] if name == service),
                "{service}"
            );
        }
    }

    /// Recorded from go-micro v5.0.0: `micro.test.x` among all services, with a TXT record of no strings.
    #[test]
    fn a_service_that_go_micro_lists_is_heard_of() {
        let recorded = "000084000002000400000000095f7365727669636573056d6963726f00000c0001095f7365727669636573\
            056c6f63616c00000c0001c00c000c000100000078000f056d6963726f04746573740178c00cc0420021000100000078000a\
            000a0001270f02766d00c0630001000100000078000400000000c04200100001000000780000";
        let digits: Vec<_> = recorded.chars().filter_map(|c| c.to_digit(16)).collect();
        let bytes: Vec<_> =
            digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect();
        assert!(matches!(news_of(&bytes).as_slice(), [Heard::Listed(name)] if name == "micro.test.x"));
    }

    #[test]
    fn a_question_is_read_with_where_the_answer_goes() {
        let names = [domains()[0].service("greeter"), domains()[1].services()];
        let mut bytes = ask(names.clone()).unwrap();
        let Some(Packet::Questions(asked)) = read(&bytes, &domains()) else { panic!("none") };
        assert!(names.iter().all(|name| asked.of(name)) && !asked.of(&domains()[0].services()));
        assert!(!asked.is_alone());
        *bytes.iter_mut().nth_back(1).unwrap() = 0x80;
        let Some(Packet::Questions(asked)) = read(&bytes, &domains()) else { panic!("none") };
        assert!(asked.is_alone());
    }

    #[test]
    fn no_damage_to_a_packet_is_more_than_a_packet_less() {
        let packet = go_micro("micro", 120, "\"1.0.0\"");
        for cut in 0..packet.len() {
            assert!(news_of(&packet[..cut]).is_empty(), "{cut}");
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut damaged = packet.clone();
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..damaged.len());
                damaged[at] = random.u8(..);
            }
            let heard = news_of(&damaged);
            assert!(
                heard
                    .iter()
                    .all(|heard| !matches!(heard, Heard::Put(said) if said.service.validate().is_err()))
            );
        }
        // A name that points to itself, and one that promises more than there is.
        for junk in [&b"\0\0\x84\0\0\0\0\x01\0\0\0\0\xc0\x0c\0\x10\0\x01"[..], &[0xff; 512], b""] {
            assert!(news_of(junk).is_empty());
        }
    }
}
