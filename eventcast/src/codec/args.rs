//! Arguments without a type of their own: what events without a type send and receive.

use std::{fmt, ops::Deref};

use bson::oid::ObjectId;
use bson::{
    Binary, Bson, DateTime, DbPointer, Decimal128, Document, JavaScriptCodeWithScope, Regex,
    Timestamp, Uuid,
};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::{
    DecodeError, EncodeError, MAX_DEPTH,
    de::decode_args_anywhere,
    extended_json::Relaxed,
    raw::RawArgs,
    ser::{Arguments, encode_arguments},
    value,
};

/// The arguments of an event, each with exactly the BSON type that it has on the wire.
///
/// A listener by key gets them, and reads them as a slice of [`Bson`] or, by
/// [`decode`](Self::decode), as Rust types. [`args!`](crate::args) makes them; sent, every value
/// keeps its type.
///
/// As values small things are large: a number of five bytes on the wire takes about a hundred. So a
/// bus gives no listener arguments that would take more than ten times `max_message_size` (and no
/// less than 16 MiB) that way; that is a decode failure. A typed listener takes what its type
/// takes.
///
/// It is `Serialize`, as a list of values in MongoDB's relaxed Extended JSON: what JSON has stands
/// for itself, and what it has not is an object with a key like `$oid`, `$date` or `$binary`.
///
/// ```
/// use eventcast::{args, bson::{DateTime, oid::ObjectId}};
///
/// let args = args![5, "text", DateTime::from_millis(1_700_000_000_000), ObjectId::from_bytes([7; 12]), f64::INFINITY];
/// assert_eq!(
///     serde_json::to_string(&args)?,
///     concat!(
///         r#"[5,"text",{"$date":"2023-11-14T22:13:20Z"},{"$oid":"070707070707070707070707"},"#,
///         r#"{"$numberDouble":"Infinity"}]"#,
///     ),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct Args(Vec<Bson>);

impl Args {
    /// What has come, copied out of its bytes.
    ///
    /// # Errors
    ///
    /// Only for bytes that have not passed `check_document`.
    pub fn from_raw(args: RawArgs<'_>) -> Result<Self, DecodeError> {
        // The payload document is one level around each argument, and the array usually another.
        let values = args
            .iter()
            .map(|argument| value::read(argument, MAX_DEPTH - 1));
        value::collect(args.parts().1, || args.len(), values)
            .map(Self)
            .ok_or_else(super::de::unchecked)
    }

    /// As [`from_raw`](Self::from_raw), if the values take no more than about `limit` bytes of
    /// memory. Nothing is allocated to find that out.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::TooMuchMemory`](super::DecodeErrorKind::TooMuchMemory), and as
    /// `from_raw`.
    pub fn from_raw_within(args: RawArgs<'_>, limit: usize) -> Result<Self, DecodeError> {
        super::memory::check(args, limit)?;
        Self::from_raw(args)
    }

    /// Decodes the arguments into Rust types: all of them into a tuple, a tuple struct or another
    /// sequence, none into `()`, the first into anything else.
    ///
    /// Surplus arguments are ignored. To read a single argument that is itself a sequence, ask for
    /// a tuple of one: `args.decode::<(Vec<u8>,)>()`.
    ///
    /// ```
    /// use eventcast::args;
    ///
    /// let args = args!["hello", 5];
    /// let (text, number): (String, u8) = args.decode()?;
    /// assert_eq!((text.as_str(), number), ("hello", 5));
    /// let text: String = args.decode()?;
    /// # Ok::<(), eventcast::DecodeError>(())
    /// ```
    ///
    /// It can be called wherever there is a stack: what takes much of one, because it is deep or
    /// large, is decoded on a thread of its own, which is why `T` is `Send`. That costs some ten
    /// microseconds.
    ///
    /// # Errors
    ///
    /// An argument is missing, or has a type or value that the target cannot hold.
    pub fn decode<T: DeserializeOwned + Send>(&self) -> Result<T, DecodeError> {
        let mut bytes = Vec::new();
        self.encode_args(&mut bytes)
            .map_err(serde::de::Error::custom)?;
        decode_args_anywhere(RawArgs::from_payload(&bytes).map_err(serde::de::Error::custom)?)
    }

    /// The values.
    ///
    /// ```
    /// use eventcast::{args, bson::Bson};
    ///
    /// assert_eq!(args!["hello", 5].into_vec(), [Bson::from("hello"), Bson::Int32(5)]);
    /// ```
    pub fn into_vec(self) -> Vec<Bson> {
        self.0
    }
}

impl Deref for Args {
    type Target = [Bson];

    fn deref(&self) -> &[Bson] {
        &self.0
    }
}

/// As a list.
impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Relaxed))
    }
}

impl From<Vec<Bson>> for Args {
    fn from(values: Vec<Bson>) -> Self {
        Self(values)
    }
}

impl FromIterator<Bson> for Args {
    fn from_iter<I: IntoIterator<Item = Bson>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl IntoIterator for Args {
    type Item = Bson;
    type IntoIter = std::vec::IntoIter<Bson>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Args {
    type Item = &'a Bson;
    type IntoIter = std::slice::Iter<'a, Bson>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Turns a value into BSON as a typed event would carry it: integers are narrowed, BSON's own types
/// keep theirs.
///
/// # Errors
///
/// As for an event: see [`EncodeErrorKind`](super::EncodeErrorKind).
pub fn to_bson<T: Serialize + ?Sized>(value: &T) -> Result<Bson, EncodeError> {
    let mut bytes = Vec::new();
    encode_arguments(&mut bytes, |arguments| arguments.push_only(value))?;
    RawArgs::from_payload(&bytes)
        .ok()
        .and_then(|args| args.iter().next())
        .and_then(|argument| value::read(argument, MAX_DEPTH))
        .ok_or_else(|| serde::ser::Error::custom("the value wrote nothing"))
}

/// Makes [`Args`](crate::Args) of any number of expressions.
///
/// Each becomes one argument by [`IntoArg`](crate::IntoArg): numbers keep their width (an
/// `i64` is an int64), a `Bson` stays what it is. A value of a type of your own goes through
/// [`to_bson`](crate::to_bson).
///
/// ```
/// use eventcast::args;
/// use eventcast::bson::{Bson, doc};
///
/// let args = args!["hello", 5, 5_i64, [1.5, 2.5], Bson::Null, doc! { "a": 1 }];
/// assert_eq!(args.len(), 6);
/// assert_eq!(args[2], Bson::Int64(5));
/// ```
#[macro_export]
macro_rules! args {
    ($($argument:expr),* $(,)?) => {
        $crate::Args::from_iter([$($crate::IntoArg::into_arg($argument)),*])
    };
}

/// A value that becomes one argument of [`args!`](crate::args) without any chance of failure.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in `args![..]`",
    label = "not a BSON value",
    note = "write `to_bson(&value)?` for a type of your own that implements `Serialize`",
    note = "write `i64::try_from(number)?` for a `u64` or a `usize`: BSON's largest integer is `i64`"
)]
pub trait IntoArg {
    /// The argument.
    fn into_arg(self) -> Bson;
}

impl IntoArg for Bson {
    fn into_arg(self) -> Bson {
        self
    }
}

impl IntoArg for () {
    fn into_arg(self) -> Bson {
        Bson::Null
    }
}

impl IntoArg for char {
    fn into_arg(self) -> Bson {
        Bson::String(self.into())
    }
}

impl IntoArg for Uuid {
    fn into_arg(self) -> Bson {
        Bson::Binary(self.into())
    }
}

impl<T: IntoArg> IntoArg for Option<T> {
    fn into_arg(self) -> Bson {
        self.map_or(Bson::Null, T::into_arg)
    }
}

impl<T: IntoArg> IntoArg for Vec<T> {
    fn into_arg(self) -> Bson {
        Bson::Array(self.into_iter().map(T::into_arg).collect())
    }
}

impl<T: IntoArg, const N: usize> IntoArg for [T; N] {
    fn into_arg(self) -> Bson {
        Bson::Array(self.into_iter().map(T::into_arg).collect())
    }
}

impl<T: IntoArg + Clone> IntoArg for &[T] {
    fn into_arg(self) -> Bson {
        Bson::Array(self.iter().cloned().map(T::into_arg).collect())
    }
}

impl<T: IntoArg + Clone> IntoArg for &T {
    fn into_arg(self) -> Bson {
        self.clone().into_arg()
    }
}

macro_rules! into_arg_by_from {
    ($($value:ty),*) => {$(
        impl IntoArg for $value {
            fn into_arg(self) -> Bson {
                self.into()
            }
        }
    )*};
}

into_arg_by_from! {
    &str, String, bool, i32, i64, u32, f32, f64, Document, ObjectId, DateTime, Decimal128, Binary,
    Regex, Timestamp, JavaScriptCodeWithScope, DbPointer
}

macro_rules! into_arg_by_i32 {
    ($($number:ty),*) => {$(
        impl IntoArg for $number {
            fn into_arg(self) -> Bson {
                Bson::Int32(self.into())
            }
        }
    )*};
}

into_arg_by_i32!(i8, i16, u8, u16);

/// What an event without a type can be emitted with.
///
/// - `()`: no argument;
/// - a tuple of 1 to 12 values that implement `Serialize`: as many arguments;
/// - [`Args`] and `Vec<Bson>`: the whole list, each value with its type;
/// - a single string, `bool`, `char`, number, [`Bson`] or [`Document`]: one argument;
/// - a reference to one of these.
///
/// Any other single value is written `(x,)`. In a tuple, integers are narrowed as in a typed event;
/// a `Bson` keeps its type there as well, also behind a reference, `Box`, `Rc`, `Arc` or `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of an event",
    label = "not a list of arguments",
    note = "a single argument of a type of your own is written `(x,)`, with the comma",
    note = "several are written `(a, b)`; each must implement `Serialize`"
)]
pub trait IntoArgs: sealed::Sealed {
    /// Appends the whole payload document to `out`.
    ///
    /// # Errors
    ///
    /// What BSON cannot hold; `out` is then as it was.
    fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

mod sealed {
    /// Keeps `IntoArgs` to this crate: what is appended must be a payload document.
    pub trait Sealed {}
}

fn encode_values(values: &[Bson], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_arguments(out, |arguments| {
        values
            .iter()
            .try_for_each(|value| arguments.push_bson(value))
    })
}

/// `IntoArgs` by an expression that writes into an `Arguments`.
macro_rules! into_args {
    ($($value:ty => |$this:ident, $arguments:ident| $write:expr;)*) => {$(
        impl sealed::Sealed for $value {}

        impl IntoArgs for $value {
            #[inline]
            fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                let $this = self;
                encode_arguments(out, |$arguments: &mut Arguments<'_>| $write)
            }
        }
    )*};
}

into_args! {
    () => |_this, _arguments| Ok(());
    Bson => |this, arguments| arguments.push_bson(this);
    str => |this, arguments| arguments.push_only(this);
    String => |this, arguments| arguments.push_only(this.as_str());
    Document => |this, arguments| arguments.push_only(this);
    bool => |this, arguments| arguments.push_only(this);
    char => |this, arguments| arguments.push_only(this);
    i8 => |this, arguments| arguments.push_only(this);
    i16 => |this, arguments| arguments.push_only(this);
    i32 => |this, arguments| arguments.push_only(this);
    i64 => |this, arguments| arguments.push_only(this);
    isize => |this, arguments| arguments.push_only(this);
    u8 => |this, arguments| arguments.push_only(this);
    u16 => |this, arguments| arguments.push_only(this);
    u32 => |this, arguments| arguments.push_only(this);
    u64 => |this, arguments| arguments.push_only(this);
    usize => |this, arguments| arguments.push_only(this);
    f32 => |this, arguments| arguments.push_only(this);
    f64 => |this, arguments| arguments.push_only(this);
}

impl sealed::Sealed for Args {}

impl IntoArgs for Args {
    fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode_values(&self.0, out)
    }
}

impl sealed::Sealed for Vec<Bson> {}

impl IntoArgs for Vec<Bson> {
    fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode_values(self, out)
    }
}

impl<T: IntoArgs + ?Sized> sealed::Sealed for &T {}

impl<T: IntoArgs + ?Sized> IntoArgs for &T {
    #[inline]
    fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        (**self).encode_args(out)
    }
}

macro_rules! into_args_of_tuple {
    ($($member:ident $value:ident)*) => {
        impl<$($member: Serialize),*> sealed::Sealed for ($($member,)*) {}

        impl<$($member: Serialize),*> IntoArgs for ($($member,)*) {
            #[inline]
            fn encode_args(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                let ($($value,)*) = self;
                encode_arguments(out, |arguments| {
                    $(arguments.push($value)?;)*
                    Ok(())
                })
            }
        }
    };
}

into_args_of_tuple!(A a);
into_args_of_tuple!(A a B b);
into_args_of_tuple!(A a B b C c);
into_args_of_tuple!(A a B b C c D d);
into_args_of_tuple!(A a B b C c D d E e);
into_args_of_tuple!(A a B b C c D d E e F f);
into_args_of_tuple!(A a B b C c D d E e F f G g);
into_args_of_tuple!(A a B b C c D d E e F f G g H h);
into_args_of_tuple!(A a B b C c D d E e F f G g H h I i);
into_args_of_tuple!(A a B b C c D d E e F f G g H h I i J j);
into_args_of_tuple!(A a B b C c D d E e F f G g H h I i J j K k);
into_args_of_tuple!(A a B b C c D d E e F f G g H h I i J j K k L l);
