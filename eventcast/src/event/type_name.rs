//! The names that types have as parameters inside event keys.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::{NonZero, Wrapping},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::text::{ConstParam, ConstText, Text};

/// The name of a type as a parameter inside an event key.
///
/// The key of a generic event holds the names of its parameters: `Sample<f64>`, `Pair<u8,
/// Vec<String>>`. Since both ends of the wire must come to the same key, names are spelled as Rust
/// prints types, without paths and lifetimes: `u8`, `String`, `Option<Vec<f64>>`, `[u8; 4]`, `(u8,
/// bool)`, `Box<u8>`, `HashMap<String, u8>` (without its hasher). A pointer keeps its name:
/// `Sample<Box<u8>>` and `Sample<u8>` are two keys.
///
/// `#[derive(NetEvent)]` implements it too, with the event's own key as the name: `Sample<Order>`,
/// and `Sample<order.placed>` where `Order` has `#[net_event(name = "order.placed")]`, so renaming
/// a type in the source does not change the keys that its name stands in.
///
/// A type of your own that is no event gets it by hand:
///
/// ```
/// use eventcast::{NetEvent, TypeName};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Celsius(f64);
///
/// impl TypeName for Celsius {
///     const NAME: &'static str = "Celsius";
/// }
///
/// #[derive(NetEvent, Serialize, Deserialize)]
/// struct Sample<T> {
///     value: T,
/// }
///
/// assert_eq!(<Sample<Celsius>>::KEY, "Sample<Celsius>");
/// assert_eq!(<Sample<Option<Celsius>>>::KEY, "Sample<Option<Celsius>>");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no name that could stand in an event key",
    label = "has no `TypeName`",
    note = "derive `NetEvent` for it, or write `impl eventcast::TypeName for {Self} {{ const NAME: &'static str = \"{Self}\"; }}`",
    note = "or leave it out of the key: `#[net_event(name = \"…\")]` on the generic event gives all instances one key"
)]
pub trait TypeName {
    /// The name, as it stands in a key: no control characters, and together with the rest of the
    /// key at most [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) bytes.
    const NAME: &'static str;
}

macro_rules! primitives {
    ($($ty:ident)+) => {
        $(impl TypeName for $ty {
            const NAME: &'static str = stringify!($ty);
        })+
    };
}

primitives! {
    bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 str
}

macro_rules! named {
    ($($ty:ty => $name:literal,)+) => {
        $(impl TypeName for $ty {
            const NAME: &'static str = $name;
        })+
    };
}

named! {
    () => "()",
    String => "String",
    PathBuf => "PathBuf",
    Duration => "Duration",
    SystemTime => "SystemTime",
    IpAddr => "IpAddr",
    Ipv4Addr => "Ipv4Addr",
    Ipv6Addr => "Ipv6Addr",
    SocketAddr => "SocketAddr",
    SocketAddrV4 => "SocketAddrV4",
    SocketAddrV6 => "SocketAddrV6",
    NonZero<u8> => "NonZero<u8>",
    NonZero<u16> => "NonZero<u16>",
    NonZero<u32> => "NonZero<u32>",
    NonZero<u64> => "NonZero<u64>",
    NonZero<u128> => "NonZero<u128>",
    NonZero<usize> => "NonZero<usize>",
    NonZero<i8> => "NonZero<i8>",
    NonZero<i16> => "NonZero<i16>",
    NonZero<i32> => "NonZero<i32>",
    NonZero<i64> => "NonZero<i64>",
    NonZero<i128> => "NonZero<i128>",
    NonZero<isize> => "NonZero<isize>",
    bson::Bson => "Bson",
    bson::Document => "Document",
    bson::DateTime => "DateTime",
    bson::Decimal128 => "Decimal128",
    bson::Binary => "Binary",
    bson::Regex => "Regex",
    bson::Timestamp => "Timestamp",
    bson::oid::ObjectId => "ObjectId",
}

/// The parts joined, as a constant that may depend on parameters.
macro_rules! join {
    ($($part:expr),+ $(,)?) => {
        const { &Text::join(&[$($part),+]) }.as_str()
    };
}

/// After `=>` stands the order of the parameters in the name; others are left out.
macro_rules! generic {
    ($($ty:ty where [$($param:tt)+] => $name:ident < $first:ident $(, $more:ident)* >;)+) => {
        $(impl<$($param)+> TypeName for $ty {
            const NAME: &'static str = join!(
                concat!(stringify!($name), "<"),
                $first::NAME,
                $(", ", $more::NAME,)*
                ">"
            );
        })+
    };
}

generic! {
    Option<T> where [T: TypeName] => Option<T>;
    Result<T, E> where [T: TypeName, E: TypeName] => Result<T, E>;
    Box<T> where [T: TypeName + ?Sized] => Box<T>;
    Arc<T> where [T: TypeName + ?Sized] => Arc<T>;
    Cow<'_, T> where [T: TypeName + ToOwned + ?Sized] => Cow<T>;
    PhantomData<T> where [T: TypeName + ?Sized] => PhantomData<T>;
    Wrapping<T> where [T: TypeName] => Wrapping<T>;
    Vec<T> where [T: TypeName] => Vec<T>;
    VecDeque<T> where [T: TypeName] => VecDeque<T>;
    LinkedList<T> where [T: TypeName] => LinkedList<T>;
    BinaryHeap<T> where [T: TypeName] => BinaryHeap<T>;
    BTreeSet<T> where [T: TypeName] => BTreeSet<T>;
    BTreeMap<K, V> where [K: TypeName, V: TypeName] => BTreeMap<K, V>;
    HashSet<T, S> where [T: TypeName, S] => HashSet<T>;
    HashMap<K, V, S> where [K: TypeName, V: TypeName, S] => HashMap<K, V>;
}

impl<T: TypeName> TypeName for [T] {
    const NAME: &'static str = join!("[", T::NAME, "]");
}

impl<T: TypeName, const N: usize> TypeName for [T; N] {
    const NAME: &'static str = join!(
        "[",
        T::NAME,
        "; ",
        const { &ConstText::new(<usize as ConstParam>::KIND, N as u128) }.as_str(),
        "]",
    );
}

impl<A: TypeName> TypeName for (A,) {
    const NAME: &'static str = join!("(", A::NAME, ",)");
}

/// Tuples of this many parameters and of each lower number down to two.
macro_rules! tuples {
    ($first:ident $second:ident $($more:ident)*) => {
        tuples!(@ $first $second [] $($more)*);
    };
    (@ $first:ident $second:ident [$($more:ident)*] $($rest:ident)*) => {
        impl<$first: TypeName, $second: TypeName, $($more: TypeName),*> TypeName
            for ($first, $second, $($more),*)
        {
            const NAME: &'static str = join!(
                "(", $first::NAME, ", ", $second::NAME, $(", ", $more::NAME,)* ")"
            );
        }
        tuples!(@next $first $second [$($more)*] $($rest)*);
    };
    (@next $first:ident $second:ident [$($more:ident)*]) => {};
    (@next $first:ident $second:ident [$($more:ident)*] $next:ident $($rest:ident)*) => {
        tuples!(@ $first $second [$($more)* $next] $($rest)*);
    };
}

tuples!(A B C D E F G H I J K L);

#[cfg(test)]
mod tests {
    use super::*;

    /// `type_name` of the standard library without its paths, which is what names are to read like.
    fn as_rust_prints<T: ?Sized>() -> String {
        let mut name = String::new();
        for piece in std::any::type_name::<T>().split_inclusive(['<', '[', '(', ' ', ',', ';']) {
            name.push_str(piece.rsplit("::").next().unwrap());
        }
        name
    }

    macro_rules! same {
        ($($ty:ty),+ $(,)?) => {
            $(assert_eq!(<$ty>::NAME, as_rust_prints::<$ty>());)+
        };
    }

    #[test]
    fn names_are_spelled_as_rust_prints_them() {
        same!(bool, char, u8, i128, usize, f64, String, str, ());
        same!(
            Duration,
            SystemTime,
            PathBuf,
            IpAddr,
            SocketAddrV6,
            NonZero<u16>
        );
        same!(
            Option<u8>,
            Vec<Option<String>>,
            VecDeque<u8>,
            LinkedList<u8>,
            BinaryHeap<u8>
        );
        same!(Result<u8, String>, Box<u8>, Box<str>, Arc<[u8]>, Wrapping<u8>, PhantomData<str>);
        same!(BTreeMap<String, Vec<u8>>, BTreeSet<char>);
        same!([u8; 4], [[u8; 0]; 12], [u8]);
        same!((u8,), (u8, u16), (u8, (u16, ()), [u8; 2]));
        same!((u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u16));
        same!(
            bson::Bson,
            bson::Document,
            bson::oid::ObjectId,
            bson::DateTime,
            bson::Decimal128
        );
        same!(bson::Binary, bson::Regex, bson::Timestamp);
    }

    #[test]
    fn hashers_and_lifetimes_are_left_out() {
        assert_eq!(<HashMap<String, u8>>::NAME, "HashMap<String, u8>");
        assert_eq!(<HashMap<String, u8, ()>>::NAME, "HashMap<String, u8>");
        assert_eq!(<HashSet<[u8; 2]>>::NAME, "HashSet<[u8; 2]>");
        assert_eq!(<Cow<'static, str>>::NAME, "Cow<str>");
    }
}
