//! The endpoints of a slice, as they are written.
//!
//! There may be many thousands, and most differ from the one before in a few strings.

use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Error;

use super::json::Cursor;
use super::slice::{Conditions, HOSTNAME, Hints, NODE, Target, nullable};
use crate::invalid::check_name;
use crate::labels::Labels;
use crate::template::Template;
use crate::text::Text;

/// A [`Target`] as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    addresses: First<'a>,
    #[serde(deserialize_with = "nullable")]
    conditions: Conditions,
    #[serde(borrow)]
    hostname: Option<Text<'a>>,
    #[serde(borrow)]
    node_name: Option<Text<'a>>,
    #[serde(borrow)]
    zone: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    hints: WrittenHints<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    target_ref: TargetRef<'a>,
}

/// The first of a list; the others are not read.
#[derive(Default)]
struct First<'a>(Option<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = First<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of addresses")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<First<'de>, A::Error> {
                let first = texts.next_element()?;
                while texts.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        from.deserialize_seq(Texts)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetRef<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenHints<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    for_zones: Vec<Hint<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    for_nodes: Vec<Hint<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hint<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

/// What differs from endpoint to endpoint: address, hostname, node, pod, uid, zone, and a zone that is hinted at alone.
type Strings<'a> = [Option<&'a str>; 7];

impl Written<'_> {
    fn strings(&self) -> Strings<'_> {
        let zone = match &*self.hints.for_zones {
            [only] => Some(&*only.name.0),
            _ => None,
        };
        [
            said(&self.addresses.0),
            said(&self.hostname),
            said(&self.node_name),
            said(&self.target_ref.name),
            said(&self.target_ref.uid),
            said(&self.zone),
            zone,
        ]
    }

    fn hints(&self) -> Hints {
        let names = |hints: &[Hint<'_>]| hints.iter().map(|hint| hint.name.0.clone().into_owned()).collect();
        Hints { zones: names(&self.hints.for_zones), nodes: names(&self.hints.for_nodes) }
    }
}

fn said<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
    text.as_ref().map(|text| &*text.0)
}

fn target(strings: Strings<'_>, conditions: Conditions, mut hints: Hints, zones: &mut Zones) -> Target {
    let [address, hostname, node, pod, uid, zone, near] = strings;
    if let ([only], Some(near)) = (&mut *hints.zones, near) {
        near.clone_into(only);
    }
    let pod = pod.filter(|pod| !pod.is_empty());
    let (mut labels, mut count) = ([("", ""); 3], 0);
    for (key, text) in [(HOSTNAME, hostname), (NODE, node), ("pod", pod)] {
        if let Some(text) = text {
            labels[count] = (key, text);
            count += 1;
        }
    }
    Target {
        ip: address.and_then(|address| address.parse().ok()),
        conditions,
        zone: zone.and_then(|zone| zones.read(zone)),
        hints,
        uid: uid.unwrap_or_default().into(),
        labels: Labels::packed(&labels[..count]),
    }
}

/// Zones that were read, so that many endpoints share the few there are.
#[derive(Default)]
struct Zones(Vec<Arc<str>>);

/// More are not looked through.
const MOST_ZONES: usize = 8;

impl Zones {
    /// The zone of this name, if it is one.
    fn read(&mut self, name: &str) -> Option<Arc<str>> {
        if let Some(known) = self.0.iter().find(|known| ***known == *name) {
            return Some(known.clone());
        }
        check_name(name, 255).ok()?;
        if self.0.len() == MOST_ZONES {
            self.0.clear();
        }
        let zone: Arc<str> = name.into();
        self.0.push(zone.clone());
        Some(zone)
    }
}

/// The endpoint that was read last, with a hole for each of its strings.
struct Last {
    template: Template<7>,
    conditions: Conditions,
    hints: Hints,
}

/// So many a controller puts into a slice, unless it is told otherwise,
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>.
const USUAL: usize = 100;

/// Reads the endpoints of a slice; null is none.
pub(super) fn targets(cursor: &mut Cursor<'_>) -> Result<Vec<Target>, Error> {
    let (mut all, mut last, mut zones) = (Vec::new(), None::<Last>, Zones::default());
    cursor.list(|cursor| {
        let rest = cursor.rest();
        let again = last.as_ref().and_then(|last| Some((last, last.template.fill(rest)?)));
        if let Some((last, (strings, rest))) = again {
            cursor.go_on(rest);
            all.push(target(strings, last.conditions, last.hints.clone(), &mut zones));
            return Ok(());
        }
        let (written, json) = cursor.written::<Written<'_>>()?;
        if all.is_empty() {
            all.reserve(USUAL);
        }
        let (conditions, hints) = (written.conditions, written.hints());
        all.push(target(written.strings(), conditions, hints.clone(), &mut zones));
        let template = Template::new(json, written.strings());
        last = template.map(|template| Last { template, conditions, hints });
        Ok(())
    })?;
    Ok(all)
}

/// Reads the endpoints of a slice, and each of them alone: the same.
#[cfg(any(test, fuzzing))]
pub(super) fn probe(json: &str) {
    let read = |json: &str| targets(&mut Cursor::new(json)).ok();
    let mut apart = Some(Vec::new());
    let split = Cursor::new(json).list(|cursor| {
        let (IgnoredAny, endpoint) = cursor.written()?;
        apart = apart.take().zip(read(&format!("[{endpoint}]"))).map(|(apart, one)| [apart, one].concat());
        Ok(())
    });
    assert_eq!(read(json), apart.filter(|_| split.is_ok()), "{json}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::json::Read;

    impl Read for Vec<Target> {
        fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
            targets(cursor)
        }
    }

    fn list(json: &str) -> Result<Vec<Target>, Error> {
        Vec::whole(json.as_bytes())
    }

    /// Each read alone, so that nothing is known of it.
    fn alone(endpoints: &[Value]) -> Vec<Target> {
        endpoints.iter().flat_map(|endpoint| list(&json!([endpoint]).to_string()).unwrap()).collect()
    }

    #[test]
    fn endpoints_are_read_alike_whatever_stands_before_them() {
        let endpoint = |host: u8, more: &Value| {
            let mut endpoint = json!({
                "addresses": [format!("10.0.0.{host}")], "conditions": {"ready": true}, "nodeName": "n", "zone": "a",
                "targetRef": {"kind": "Pod", "name": format!("pod-{host}"), "uid": host.to_string()},
            });
            for (key, value) in more.as_object().unwrap() {
                endpoint[key] = value.clone();
            }
            endpoint
        };
        let odd = [
            json!({}),
            json!({"conditions": {"ready": false}}),
            json!({"hints": {"forZones": [{"name": "a"}]}}),
            json!({"hints": {"forZones": [{"name": "b"}]}}),
            json!({"hints": {"forZones": [{"name": "b"}, {"name": "a"}], "forNodes": [{"name": "n"}]}}),
            json!({"hints": {"forZones": [{}]}}),
            json!({"zone": null, "targetRef": null, "hints": null}),
            json!({"zone": "z\"\\", "hostname": "h"}),
            json!({"addresses": ["10.9.9.9", "10.9.9.8"], "hostname": ""}),
            json!({"addresses": [], "targetRef": {"name": ""}}),
        ];
        let pairs = odd.iter().flat_map(|first| odd.iter().map(move |second| [first, second]));
        let endpoints: Vec<_> = pairs.flatten().zip(0..).map(|(more, host)| endpoint(host, more)).collect();
        for text in
            [Value::from(endpoints.clone()).to_string(), format!("{:#}", Value::from(endpoints.clone()))]
        {
            assert_eq!(list(&text).unwrap(), alone(&endpoints));
        }
    }

    #[test]
    fn what_is_no_list_of_endpoints_is_refused() {
        for json in ["{}", "1", "[1]", "[null]", r#"[{"zone": 1}]"#, r#"[{"zone": "a", "zone": "b"}]"#] {
            assert!(list(json).is_err(), "{json}");
        }
        assert_eq!(list(" [ ] ").unwrap(), Vec::new());
    }
}
