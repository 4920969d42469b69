//! Both directions together: what is sent is what arrives, and the bson crate agrees.

mod bson_types;
mod hostile;
mod mapping;
mod memory;
mod numbers;
mod old_peers;
mod properties;
mod refusals;
mod representations;
mod stack;
mod untyped;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::{args, event::ShapeKind};

/// The payload document of an event.
fn encoded<T: Serialize>(value: &T, shape: ShapeKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_event(value, shape, &mut bytes).unwrap();
    assert_eq!(check_document(&bytes), Ok(()));
    bytes
}

fn refused<T: Serialize>(value: &T, shape: ShapeKind) -> EncodeError {
    let mut bytes = b"before".to_vec();
    let error = encode_event(value, shape, &mut bytes).unwrap_err();
    assert_eq!(bytes, b"before", "an error must leave the buffer as it was");
    error
}

fn decoded<T: DeserializeOwned>(bytes: &[u8], shape: ShapeKind) -> Result<T, DecodeError> {
    check_document(bytes).unwrap();
    decode_event(RawArgs::from_payload(bytes).unwrap(), shape)
}

/// The arguments of an event, each with its BSON type.
fn args_of<T: Serialize>(value: &T, shape: ShapeKind) -> Args {
    Args::from_raw(RawArgs::from_payload(&encoded(value, shape)).unwrap()).unwrap()
}

/// An event whose arguments are spelled out, as a peer would send it.
fn event_of(args: &Args) -> Vec<u8> {
    let mut bytes = Vec::new();
    args.encode_args(&mut bytes).unwrap();
    assert_eq!(check_document(&bytes), Ok(()));
    bytes
}

fn round_trip<T: Serialize + DeserializeOwned>(value: &T, shape: ShapeKind) -> T {
    decoded(&encoded(value, shape), shape).unwrap()
}

/// Decodes one argument.
fn from_arg<T: DeserializeOwned>(argument: impl IntoArg) -> Result<T, DecodeError> {
    decoded(&event_of(&args![argument.into_arg()]), ShapeKind::Newtype)
}
