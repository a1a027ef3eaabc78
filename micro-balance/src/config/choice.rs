//! One of several: by its name alone, or with settings in a table under its name.

use std::{fmt, iter, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
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
        let mut any = false;
        let value = T::deserialize(MapAccessDeserializer::new(Entries { map: &mut map, any: &mut any }));
        let value = value.map_err(|error| if any { error } else { A::Error::invalid_length(0, &self) })?;
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("more than one is named")),
            None => Ok(value),
        }
    }
}

/// The entries of a table, and whether there was any.
struct Entries<'a, A> {
    map: &'a mut A,
    any: &'a mut bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        // One that cannot be read is one as well.
        *self.any = true;
        let key = self.map.next_key_seed(seed)?;
        *self.any = key.is_some();
        Ok(key)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
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
