//! One of several: by its name alone, or with settings in a table under its name.

use std::{fmt, iter, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer},
    },
    forward_to_deserialize_any,
};

/// Reads an enum, each of whose variants holds settings that all have defaults: `"name"`, or
/// `{ name = { … } }`.
///
/// # Errors
///
/// Where there is no such variant, or more than one, or its settings cannot be read.
pub fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Choice(PhantomData))
}

struct Choice<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Choice<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a table with one name and its settings")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        let entry = iter::once((name, Nothing(PhantomData)));
        T::deserialize(MapAccessDeserializer::new(MapDeserializer::new(entry)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let value = T::deserialize(MapAccessDeserializer::new(&mut map))?;
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("more than one is named")),
            None => Ok(value),
        }
    }
}

/// An empty table.
struct Nothing<E>(PhantomData<E>);

impl<'de, E: Error> IntoDeserializer<'de, E> for Nothing<E> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de, E: Error> Deserializer<'de> for Nothing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_map(MapDeserializer::new(iter::empty::<(&str, &str)>()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
