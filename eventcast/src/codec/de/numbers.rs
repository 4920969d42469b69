//! Numbers: any of BSON's kinds into any of Rust's, where the value is exactly the same.
//!
//! An `f32` is the exception, and takes the nearest to a double: hardly a decimal fraction is the
//! same in both, and a peer that knows doubles alone could send it nothing else.

use serde::de::{self, Unexpected, Visitor};

use super::{
    super::{DecodeError, element},
    Deserializer,
};

/// 2^63, 2^64 and 2^127 as doubles.
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
const TWO_POW_127: f64 = TWO_POW_63 * TWO_POW_64;

impl<'de> Deserializer<'de> {
    /// For an integer type, whose own visitor refuses a number out of its range.
    #[inline]
    pub(super) fn visit_integer<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::INT32 => visitor.visit_i32(i32::from_le_bytes(self.fixed()?)),
            element::INT64 => visitor.visit_i64(i64::from_le_bytes(self.fixed()?)),
            element::DOUBLE => self.visit_whole(visitor),
            _ => self.visit_other(visitor),
        }
    }

    /// A double that is a whole number.
    fn visit_whole<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let double = f64::from_le_bytes(self.fixed()?);
        if double.trunc() == double {
            if (-TWO_POW_63..TWO_POW_63).contains(&double) {
                return visitor.visit_i64(double as i64);
            }
            if (TWO_POW_63..TWO_POW_64).contains(&double) {
                return visitor.visit_u64(double as u64);
            }
        }
        Err(de::Error::invalid_value(
            Unexpected::Float(double),
            &visitor,
        ))
    }

    /// For an integer type of 128 bits, which holds larger doubles as well.
    pub(super) fn visit_wide<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.kind() == element::DOUBLE {
            let double = f64::from_le_bytes(self.fixed()?);
            if double.trunc() == double && (-TWO_POW_127..TWO_POW_127).contains(&double) {
                return visitor.visit_i128(double as i128);
            }
        }
        self.visit_integer(visitor)
    }

    #[inline]
    pub(super) fn visit_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::DOUBLE => visitor.visit_f64(f64::from_le_bytes(self.fixed()?)),
            element::INT32 | element::INT64 => {
                let integer = self.integer()?;
                let double = integer as f64;
                if double as i128 == i128::from(integer) {
                    return visitor.visit_f64(double);
                }
                Err(de::Error::invalid_value(
                    Unexpected::Signed(integer),
                    &visitor,
                ))
            }
            _ => self.visit_other(visitor),
        }
    }

    pub(super) fn visit_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.kind() {
            element::DOUBLE => {
                let double = f64::from_le_bytes(self.fixed()?);
                let single = double as f32;
                if single.is_finite() || !double.is_finite() {
                    return visitor.visit_f32(single);
                }
                Err(de::Error::invalid_value(
                    Unexpected::Float(double),
                    &visitor,
                ))
            }
            element::INT32 | element::INT64 => {
                let integer = self.integer()?;
                let single = integer as f32;
                if single as i128 == i128::from(integer) {
                    return visitor.visit_f32(single);
                }
                Err(de::Error::invalid_value(
                    Unexpected::Signed(integer),
                    &visitor,
                ))
            }
            _ => self.visit_other(visitor),
        }
    }
}
