//! Arrays, documents and structs that are open, taking their elements.

use serde::ser::{self, Serialize};

use super::{
    super::{EncodeError, check::Keys},
    key::KeySerializer,
    special::Special,
    writer::Serializer,
};

/// An array that is open.
pub(in crate::codec) struct Items<'s, 'a> {
    pub(super) inner: &'s mut Serializer<'a>,
    pub(super) start: usize,
    pub(super) count: usize,
    /// The variant that it belongs to, and where the document around it begins.
    pub(super) variant: Option<(&'static str, usize)>,
}

impl Items<'_, '_> {
    #[inline]
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let index = self.count;
        self.count += 1;
        self.inner.begin_item(index);
        self.inner
            .put(value)
            .map_err(|error| self.fail(error, index))
    }

    #[cold]
    fn fail(&mut self, error: EncodeError, index: usize) -> EncodeError {
        self.inner.broken = true;
        let error = error.in_index(index);
        match self.variant {
            Some((variant, _)) => error.in_key(variant),
            None => error,
        }
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        self.inner.end_document(self.start)?;
        match self.variant {
            Some((_, outer)) => self.inner.end_document(outer),
            None => Ok(()),
        }
    }
}

impl ser::SerializeSeq for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.push(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

/// A document that is open.
pub(in crate::codec) struct Entries<'s, 'a> {
    pub(super) inner: &'s mut Serializer<'a>,
    pub(super) start: usize,
    pub(super) keys: Keys,
    /// Where the key begins whose value comes next.
    pub(super) key: Option<usize>,
    /// The variant that it belongs to, and where the document around it begins.
    pub(super) variant: Option<(&'static str, usize)>,
}

impl Entries<'_, '_> {
    #[inline(always)]
    fn push<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let begun = self.inner.begin_field(key, &mut self.keys);
        match begun.and_then(|()| self.inner.put(value)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error, key)),
        }
    }

    #[cold]
    fn fail(&mut self, error: EncodeError, key: &str) -> EncodeError {
        self.inner.broken = true;
        let error = error.in_key(key);
        match self.variant {
            Some((variant, _)) => error.in_key(variant),
            None => error,
        }
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if self.key.is_some() {
            return Err(ser::Error::custom("a key without a value"));
        }
        self.inner.end_keyed(self.start, &self.keys)?;
        match self.variant {
            Some((_, outer)) => self.inner.end_document(outer),
            None => Ok(()),
        }
    }
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if self.key.is_some() {
            self.inner.broken = true;
            return Err(ser::Error::custom("a key without a value"));
        }
        self.key = Some(self.inner.out.len() + 1);
        let serializer = KeySerializer::new(self.inner, &mut self.keys);
        key.serialize(serializer).inspect_err(|_| {
            self.inner.broken = true;
        })
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let Some(key_at) = self.key.take() else {
            self.inner.broken = true;
            return Err(ser::Error::custom("a value without a key"));
        };
        let key_end = self.inner.out.len() - 1;
        self.inner.put(value).map_err(|error| {
            let key = String::from_utf8_lossy(&self.inner.out[key_at..key_end]).into_owned();
            self.fail(error, &key)
        })
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Entries<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.push(key, value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

/// A struct that is open: a document, or one of BSON's own types.
pub(in crate::codec) enum Fields<'s, 'a> {
    Document(Entries<'s, 'a>),
    Special(Special<'s, 'a>),
}

impl ser::SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Document(entries) => entries.push(key, value),
            Self::Special(special) => special.put_field(key, value),
        }
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        match self {
            Self::Document(entries) => entries.finish(),
            Self::Special(special) => special.finish(),
        }
    }
}
