//! Messages whose type is known at run time only, for tonic.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::schema;

/// Reads messages of one type, and writes any.
#[derive(Clone, Debug)]
pub struct DynamicCodec(MessageDescriptor);

impl DynamicCodec {
    /// A codec that reads messages of type `message`.
    pub fn new(message: MessageDescriptor) -> Self {
        Self(message)
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        schema::encode_into(&item, to);
        Ok(())
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let read = DynamicMessage::decode(self.0.clone(), from);
        let wrong = |error| Status::internal(format!("not a {}: {error}", self.0.full_name()));
        read.map(Some).map_err(wrong)
    }
}
