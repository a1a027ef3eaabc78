//! A record as tags of a Consul service: go-micro's, read in both formats, and one of ours with the whole record.
//!
//! go-micro keeps labels, methods and the version in tags `t-`, `e-` and `v-`, zlib in hex; before, plain after `=`. What
//! it has no place for, such as a zone, is in our tag `r-`, which it does not look at.

use std::collections::BTreeMap;

use crate::gomicro;
use crate::labels::Labels;
use crate::packed::{pack, unpack};
use crate::record::{Endpoint, Method, Service};

/// The tags of a record with one endpoint.
pub(super) fn write(record: &Service, endpoint: &Endpoint) -> Vec<String> {
    let label = |(key, value): (&String, &String)| {
        let pair = BTreeMap::from([(key, value)]);
        format!("t-{}", pack(&serde_json::to_vec(&pair).expect("strings are always JSON")))
    };
    let mut tags: Vec<_> = endpoint.metadata.iter().map(label).collect();
    tags.extend(record.methods.iter().map(|m| format!("e-{}", pack(&gomicro::encode_method(m)))));
    tags.push(format!("v-{}", pack(record.version.as_bytes())));
    tags.push(format!("r-{}", pack(&gomicro::encode(record))));
    tags
}

/// Our own record, if that is among the tags.
pub(super) fn whole(tags: &[String]) -> Option<Service> {
    tags.iter()
        .filter_map(|tag| tag.strip_prefix("r-"))
        .find_map(|tag| gomicro::decode(&unpack(tag.as_bytes())?).ok())
}

/// The version go-micro gave, if any.
pub(super) fn version(tags: &[String]) -> Option<String> {
    let version = of_kind(tags, 'v').into_iter().find_map(|version| String::from_utf8(version).ok());
    version.filter(|version| !version.is_empty())
}

/// The labels go-micro gave.
pub(super) fn labels(tags: &[String]) -> Labels {
    let read = |json: Vec<u8>| serde_json::from_slice::<Labels>(&json).ok();
    of_kind(tags, 't').into_iter().filter_map(read).flatten().collect()
}

/// The methods go-micro gave.
pub(super) fn methods(tags: &[String]) -> Vec<Method> {
    of_kind(tags, 'e').into_iter().filter_map(|json| gomicro::decode_method(&json)).collect()
}

/// What the tags of one kind say. The format seen first wins, as in go-micro.
fn of_kind(tags: &[String], kind: char) -> Vec<Vec<u8>> {
    let mut format = None;
    let read = |tag: &String| {
        let rest = tag.strip_prefix(kind)?;
        let mark = rest.chars().next().filter(|mark| matches!(mark, '-' | '='))?;
        if *format.get_or_insert(mark) != mark {
            return None;
        }
        let text = &rest[1..];
        if mark == '-' { unpack(text.as_bytes()) } else { Some(text.as_bytes().to_vec()) }
    };
    tags.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from go-micro.
    const LABEL: &str = "t-789c001400ebff7b227472616e73706f7274223a2268747470227d03004f930768";
    const VERSION: &str = "v-789c000500faff312e302e30030002ce00ee";
    const METHOD: &str = "e-789c848fc10ac2400c44ff65ce45effb037af62a1e028ead906eb79b5410d97f97aa6cf7e629045ede645e88321201874c3af3ee48d5091d32e785e60895387146077fa66d79882e348473853ea352e6f91efb068c8b6ab994556f698ac6d66fa9f15b6ace367fbfbef975fecd18e97215973523890f08d80fbf7ae6993222e0266a4429ef01005b9b580a";

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn the_tags_of_go_micro_are_read() {
        let recorded = tags(&[LABEL, METHOD, VERSION]);
        assert_eq!(version(&recorded).as_deref(), Some("1.0.0"));
        assert_eq!(labels(&recorded)["transport"], "http");
        let methods = methods(&recorded);
        assert_eq!(methods[0].name, "Greeter.Hello");
        assert_eq!(methods[0].response.as_ref().unwrap().values[0].name, "greeting");
    }

    #[test]
    fn plain_tags_are_read_and_the_format_seen_first_wins() {
        let plain = tags(&["v=2.0.0", VERSION, "t={\"a\":\"b\"}", LABEL]);
        assert_eq!(version(&plain).as_deref(), Some("2.0.0"));
        assert_eq!(labels(&plain), Labels::from([("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn junk_among_tags_is_passed_over() {
        let junk = tags(&["", "v", "v-", "v-zz", "v-789", "t-789c", "e-00ff", "é-1", "vé", "r-00", "r-789c"]);
        assert_eq!((version(&junk), labels(&junk), methods(&junk)), (None, Labels::new(), Vec::new()));
        assert_eq!(whole(&junk), None);
    }

    #[test]
    fn what_is_written_reads_the_same_for_us_and_for_go_micro() {
        let endpoint = Endpoint::new("a", "h:1".parse().unwrap()).zone("eu").metadata("k", "v");
        let record =
            Service::new("greeter").version("2").method(Method::new("Hello")).endpoint(endpoint.clone());
        let written = write(&record, &endpoint);
        assert_eq!(whole(&written).as_ref(), Some(&record));
        assert_eq!(version(&written).as_deref(), Some("2"));
        assert_eq!((labels(&written), methods(&written)), (endpoint.metadata, record.methods));
    }
}
