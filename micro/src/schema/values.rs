//! The table of protobuf's JSON mapping, value by value: what is read, how it is written again, and what is refused.
//!
//! <https://protobuf.dev/programming-guides/json/>

use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::found::tests::schema;
use super::json::Json;

const PROTO: &str = r#"
syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum E { ZERO = 0; ONE = 1; }
message M {
  int32 i32 = 1; uint32 u32 = 2; int64 i64 = 3; uint64 u64 = 4; fixed64 f64 = 5;
  float f = 6; double d = 7; bool b = 8; string s = 9; bytes raw = 10; E e = 11; M m = 12;
  repeated int32 list = 13; map<string, int32> by_name = 14; map<int32, string> by_number = 15; map<bool, string> by_bool = 16;
  oneof choice { int32 left = 17; string right = 18; }
  optional int32 maybe = 19; int32 own_name = 20 [json_name = "@own"];
  google.protobuf.Timestamp at = 21; google.protobuf.Duration wait = 22; google.protobuf.FieldMask mask = 23;
  google.protobuf.Struct tree = 24; google.protobuf.Value value = 25; google.protobuf.ListValue values = 26;
  google.protobuf.Int64Value wide = 27; google.protobuf.BoolValue flag = 28; google.protobuf.StringValue text = 29;
  google.protobuf.Any any = 30; google.protobuf.Empty none = 31; repeated E es = 32;
  repeated M ms = 33; map<int32, M> named = 34; oneof way { M up = 35; M down = 36; }
}
"#;

/// What is read, and what is written of it.
const GOOD: &[(&str, &str)] = &[
    (r#"{"i32":1}"#, r#"{"i32":1}"#),
    (r#"{"i32":"1"}"#, r#"{"i32":1}"#),
    (r#"{"i32":1.0}"#, r#"{"i32":1}"#),
    (r#"{"i32":1e2}"#, r#"{"i32":100}"#),
    (r#"{"i32":-2147483648}"#, r#"{"i32":-2147483648}"#),
    (r#"{"u32":4294967295}"#, r#"{"u32":4294967295}"#),
    (r#"{"i64":"-9223372036854775808"}"#, r#"{"i64":"-9223372036854775808"}"#),
    (r#"{"i64":9007199254740993}"#, r#"{"i64":"9007199254740993"}"#),
    (r#"{"u64":18446744073709551615}"#, r#"{"u64":"18446744073709551615"}"#),
    (r#"{"f64":"7"}"#, r#"{"f64":"7"}"#),
    (r#"{"f":0.1}"#, r#"{"f":0.1}"#),
    (r#"{"f":"1.5"}"#, r#"{"f":1.5}"#),
    (r#"{"f":"NaN"}"#, r#"{"f":"NaN"}"#),
    (r#"{"d":"-Infinity"}"#, r#"{"d":"-Infinity"}"#),
    (r#"{"d":5e-324}"#, r#"{"d":5e-324}"#),
    (r#"{"b":true}"#, r#"{"b":true}"#),
    (r#"{"s":"\u00e9\n"}"#, "{\"s\":\"é\\n\"}"),
    (r#"{"s":"\ud83d\ude00"}"#, r#"{"s":"😀"}"#),
    (r#"{"raw":"AQI="}"#, r#"{"raw":"AQI="}"#),
    (r#"{"raw":"-_8"}"#, r#"{"raw":"+/8="}"#),
    (r#"{"e":"ONE"}"#, r#"{"e":"ONE"}"#),
    (r#"{"e":1}"#, r#"{"e":"ONE"}"#),
    (r#"{"e":7}"#, r#"{"e":7}"#),
    (r#"{"i32":0,"s":"","b":false,"e":"ZERO"}"#, "{}"),
    (r#"{"i32":null,"s":null,"list":null,"m":null,"byName":null}"#, "{}"),
    (r#"{"m":{}}"#, r#"{"m":{}}"#),
    (r#"{"list":[1,"2",3.0]}"#, r#"{"list":[1,2,3]}"#),
    (r#"{"byName":{"a":1}}"#, r#"{"byName":{"a":1}}"#),
    (r#"{"by_name":{"a":1}}"#, r#"{"byName":{"a":1}}"#),
    (r#"{"byNumber":{"-1":"a"}}"#, r#"{"byNumber":{"-1":"a"}}"#),
    (r#"{"byBool":{"true":"a"}}"#, r#"{"byBool":{"true":"a"}}"#),
    (r#"{"left":0}"#, r#"{"left":0}"#),
    (r#"{"maybe":0}"#, r#"{"maybe":0}"#),
    (r#"{"@own":1}"#, r#"{"@own":1}"#),
    (r#"{"own_name":1}"#, r#"{"@own":1}"#),
    (r#"{"at":"1970-01-01T00:00:00Z"}"#, r#"{"at":"1970-01-01T00:00:00Z"}"#),
    (r#"{"at":"2020-01-02T05:04:05.1+02:00"}"#, r#"{"at":"2020-01-02T03:04:05.100Z"}"#),
    (r#"{"at":"0001-01-01T00:00:00Z"}"#, r#"{"at":"0001-01-01T00:00:00Z"}"#),
    (r#"{"at":"9999-12-31T23:59:59.999999999Z"}"#, r#"{"at":"9999-12-31T23:59:59.999999999Z"}"#),
    (r#"{"wait":"1.5s"}"#, r#"{"wait":"1.500s"}"#),
    (r#"{"wait":"-0.000000001s"}"#, r#"{"wait":"-0.000000001s"}"#),
    (r#"{"wait":"315576000000s"}"#, r#"{"wait":"315576000000s"}"#),
    (r#"{"mask":"a,bC.d"}"#, r#"{"mask":"a,bC.d"}"#),
    (r#"{"tree":{"a":[1,null,{"b":"c"}]}}"#, r#"{"tree":{"a":[1.0,null,{"b":"c"}]}}"#),
    (r#"{"value":null}"#, r#"{"value":null}"#),
    (r#"{"value":"a"}"#, r#"{"value":"a"}"#),
    (r#"{"values":[true,"a"]}"#, r#"{"values":[true,"a"]}"#),
    (r#"{"wide":"5"}"#, r#"{"wide":"5"}"#),
    (r#"{"wide":0,"flag":false,"text":""}"#, r#"{"wide":"0","flag":false,"text":""}"#),
    (r#"{"wide":null}"#, "{}"),
    (
        r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"}}"#,
        r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}"#,
    ),
    (
        r#"{"any":{"@type":"type.googleapis.com/M","i32":1}}"#,
        r#"{"any":{"@type":"type.googleapis.com/M","i32":1}}"#,
    ),
    (r#"{"none":{}}"#, r#"{"none":{}}"#),
    (r#"{"d":2.22507e-308,"f":-0.0}"#, r#"{"f":-0.0,"d":2.22507e-308}"#),
    (r#"{"i32":"1e5","u64":"-0.0","list":["1.50e1","2"]}"#, r#"{"i32":100000,"list":[15,2]}"#),
    (
        r#"{"i64":"9007199254740993.0","s":"1e5","d":"1e5"}"#,
        r#"{"i64":"9007199254740993","d":100000.0,"s":"1e5"}"#,
    ),
    (r#"{"m":{"byName":{"1e5":"1e2"},"wide":"1e3"}}"#, r#"{"m":{"byName":{"1e5":100},"wide":"1000"}}"#),
    (
        r#"{"ms":[{"i32":"1e1"},{}],"named":{"7":{"u32":"1e0"}}}"#,
        r#"{"ms":[{"i32":10},{}],"named":{"7":{"u32":1}}}"#,
    ),
    (r#"{"any":{}}"#, r#"{"any":{}}"#),
    (
        r#"{"any":{"i32":"1e1","any":{},"@type":"type.googleapis.com/M"},"at":"1970-01-01T00:00:00Z"}"#,
        r#"{"at":"1970-01-01T00:00:00Z","any":{"@type":"type.googleapis.com/M","i32":10,"any":{}}}"#,
    ),
    (
        r#"{"any":{"value":"1e1","@type":"type.googleapis.com/google.protobuf.Int64Value"}}"#,
        r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Int64Value","value":"10"}}"#,
    ),
    (r#"{"es":["ONE",0]}"#, r#"{"es":["ONE","ZERO"]}"#),
];

/// What is no message.
const BAD: &[&str] = &[
    r#"{"i32":2147483648}"#,
    r#"{"i32":-2147483649}"#,
    r#"{"i32":0.5}"#,
    r#"{"i32":"0.5"}"#,
    r#"{"i32":""}"#,
    r#"{"i32":" 1"}"#,
    r#"{"i32":"a"}"#,
    r#"{"i32":true}"#,
    r#"{"i32":01}"#,
    r#"{"u32":-1}"#,
    r#"{"u32":4294967296}"#,
    r#"{"i64":"9223372036854775808"}"#,
    r#"{"u64":18446744073709551616}"#,
    r#"{"f":NaN}"#,
    r#"{"f":3.5e38}"#,
    r#"{"f":"x"}"#,
    r#"{"d":1e999}"#,
    r#"{"b":"true"}"#,
    r#"{"b":1}"#,
    r#"{"s":1}"#,
    r#"{"s":"\ud83d"}"#,
    "{\"s\":\"\n\"}",
    r#"{"raw":"a?"}"#,
    r#"{"e":"TWO"}"#,
    r#"{"e":"one"}"#,
    r#"{"list":[1,null]}"#,
    r#"{"list":1}"#,
    r#"{"byName":{"a":null}}"#,
    r#"{"byNumber":{"a":"b"}}"#,
    r#"{"byBool":{"TRUE":"a"}}"#,
    r#"{"byName":{"a":1,"a":2}}"#,
    r#"{"left":1,"right":"a"}"#,
    r#"{"i32":1,"i32":2}"#,
    r#"{"byName":{},"by_name":{}}"#,
    r#"{"nothing":1}"#,
    r#"{"at":"1970-01-01t00:00:00z"}"#,
    r#"{"at":"1970-01-01T00:00:00"}"#,
    r#"{"at":"0000-01-01T00:00:00Z"}"#,
    r#"{"at":"10000-01-01T00:00:00Z"}"#,
    r#"{"at":"2020-02-30T00:00:00Z"}"#,
    r#"{"wait":"1"}"#,
    r#"{"wait":"315576000001s"}"#,
    r#"{"wait":"1.s"}"#,
    r#"{"wait":1}"#,
    r#"{"mask":"a_b"}"#,
    r#"{"values":{}}"#,
    r#"{"wide":"a"}"#,
    r#"{"any":{"value":"1s"}}"#,
    r#"{"any":{"@type":"type.googleapis.com/Unknown"}}"#,
    r#"{"i32":"1.5e0"}"#,
    r#"{"i32":"1e10"}"#,
    r#"{"u32":"-1e0"}"#,
    r#"{"wide":"01"}"#,
    r#"{"i32":"1e0","nothing":1}"#,
    r#"{"left":"1e0","right":"a"}"#,
    r#"{"up":{"i32":"1e0"},"down":{}}"#,
    r#"{"i32":"1e0","ms":{}}"#,
    r#"{"i32":"1e0","ms":[null]}"#,
    r#"{"i32":"1e0","named":{"x":{}}}"#,
    r#"{"i32":"1e0","named":[]}"#,
    r#"{"i32":"1e0","any":{"value":"1s"}}"#,
    r#"{"any":{"@type":"type.googleapis.com/M","any":{},"nothing":1}}"#,
    r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Int64Value","value":"1e1","more":1}}"#,
    r#"{"m":[]}"#,
    r#"[]"#,
    r#"{"i32":1,}"#,
    r#"{'i32':1}"#,
    r#"{"i32":1} {}"#,
];

fn message() -> MessageDescriptor {
    schema(PROTO).pool().get_message_by_name("M").unwrap()
}

#[test]
fn every_value_is_read_and_written_as_the_table_says() {
    let message = message();
    let wrong: Vec<String> = GOOD
        .iter()
        .filter_map(|(text, expected)| {
            let read = Json::new().read(&message, text.as_bytes());
            let written = read.map_err(|error| error.to_string());
            let written =
                written.and_then(|read| Json::new().write(&read).map_err(|error| error.to_string()));
            (written.as_deref() != Ok(*expected)).then(|| format!("{text}: {written:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_in_the_table_is_refused() {
    let message = message();
    let read = |text: &&&str| Json::new().read(&message, text.as_bytes()).is_ok();
    let taken: Vec<_> = BAD.iter().filter(read).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn numbers_are_read_and_written_to_the_last_bit() {
    let message = message();
    let mut random = 1_u64;
    for _ in 0..2_000 {
        // Numerical Recipes' generator: any pattern of bits may be a number.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let double = f64::from_bits(random);
        if !double.is_finite() {
            continue;
        }
        for text in [format!("{double:e}"), format!("{double:?}")] {
            let read = Json::new().read(&message, format!(r#"{{"d":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(read.get_field_by_name("d").unwrap().as_f64(), Some(double), "{text}");
            let again = Json::new().read(&message, Json::new().write(&read).unwrap().as_bytes()).unwrap();
            assert_eq!(again, read, "{text}");
        }
    }
}

#[test]
fn times_that_are_none_and_anys_that_nobody_knows_are_not_written() {
    let message = message();
    // A field of two numbers, or of a text and bytes.
    let written = |field: u32, inner: &[u8]| {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend_from_slice(inner);
        Json::new().write(&DynamicMessage::decode(message.clone(), bytes.as_slice()).unwrap()).ok()
    };
    let time = |seconds: i64, nanos: i32| {
        let time = prost_types::Timestamp { seconds, nanos };
        prost::Message::encode_to_vec(&time)
    };
    for (seconds, nanos, moment, wait) in [
        (1, 1, true, true),
        (0, -1, false, true),
        (1, -1, false, false),
        (-1, 1, true, false),
        (-1, -1, false, true),
        (1, 1_000_000_000, false, false),
        (-1, -1_000_000_000, false, false),
    ] {
        let at = (seconds, nanos);
        assert_eq!(written(21, &time(seconds, nanos)).is_some(), moment, "{at:?}");
        assert_eq!(written(22, &time(seconds, nanos)).is_some(), wait, "{at:?}");
    }
    assert_eq!(written(30, b"").as_deref(), Some(r#"{"any":{}}"#));
    assert_eq!(written(30, b"\x12\x01x"), None, "bytes of no type");
    assert_eq!(written(30, b"\x0a\x03a/N"), None, "a type that nobody knows");
}
