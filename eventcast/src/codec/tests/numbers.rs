//! Numbers between BSON's kinds and Rust's.

use bson::Bson;

use super::*;

#[test]
fn integers_are_narrowed() {
    let sent = |value: i64| args_of(&value, ShapeKind::Newtype)[0].clone();
    for fits in [0, -1, i32::MIN.into(), i32::MAX.into()] {
        assert_eq!(sent(fits), Bson::Int32(fits as i32));
    }
    for wide in [
        i64::from(i32::MAX) + 1,
        i64::from(i32::MIN) - 1,
        i64::MIN,
        i64::MAX,
    ] {
        assert_eq!(sent(wide), Bson::Int64(wide));
    }
    assert_eq!(
        args_of(&u32::MAX, ShapeKind::Newtype),
        args![i64::from(u32::MAX)]
    );
    assert_eq!(args_of(&7_u64, ShapeKind::Newtype), args![7]);
    assert_eq!(
        args_of(&(i64::MAX as u64), ShapeKind::Newtype),
        args![i64::MAX]
    );
}

#[test]
fn numbers_convert_where_they_are_exact() {
    assert_eq!(from_arg::<u64>(4_294_967_296.0), Ok(1 << 32));
    assert_eq!(from_arg::<u8>(255.0), Ok(255));
    assert_eq!(from_arg::<u8>(255_i64), Ok(255));
    assert_eq!(from_arg::<i64>(-9_223_372_036_854_775_808.0), Ok(i64::MIN));
    assert_eq!(from_arg::<u64>(9_223_372_036_854_775_808.0), Ok(1 << 63));
    assert_eq!(from_arg::<u64>(-0.0), Ok(0));
    assert_eq!(
        from_arg::<i128>(1e30),
        Ok(1_000_000_000_000_000_019_884_624_838_656)
    );
    assert_eq!(from_arg::<u128>(5_i64), Ok(5));
    assert_eq!(from_arg::<i128>(-5), Ok(-5));
    assert_eq!(from_arg::<f64>(5), Ok(5.0));
    assert_eq!(from_arg::<f64>(1_i64 << 62), Ok((1_i64 << 62) as f64));
    assert_eq!(from_arg::<f32>(5), Ok(5.0));
    assert_eq!(from_arg::<f32>(0.1), Ok(0.1_f32), "the nearest");
    assert!(from_arg::<f64>(f64::NAN).unwrap().is_nan());
    assert_eq!(from_arg::<f32>(f64::INFINITY), Ok(f32::INFINITY));
}

#[test]
fn numbers_that_are_not_exact_are_refused() {
    let message = |result: Result<u8, DecodeError>| result.unwrap_err().to_string();
    assert_eq!(message(from_arg(3.5)), "expected u8, found double 3.5");
    assert_eq!(message(from_arg(256.0)), "expected u8, found integer 256");
    assert_eq!(message(from_arg(-1)), "expected u8, found integer -1");
    assert_eq!(message(from_arg(f64::NAN)), "expected u8, found double NaN");
    assert_eq!(message(from_arg("5")), "expected u8, found string \"5\"");
    assert_eq!(message(from_arg(true)), "expected u8, found boolean true");
    assert_eq!(message(from_arg(())), "expected u8, found null");
    let decimal: bson::Decimal128 = "5".parse().unwrap();
    assert_eq!(
        message(from_arg(decimal)),
        "expected u8, found a decimal128"
    );

    assert!(
        from_arg::<u64>(18_446_744_073_709_551_616.0).is_err(),
        "2^64"
    );
    assert!(
        from_arg::<i64>(9_223_372_036_854_775_808.0).is_err(),
        "2^63"
    );
    assert!(from_arg::<u64>(-1.0).is_err());
    assert!(from_arg::<u64>(f64::INFINITY).is_err());
    assert!(from_arg::<i128>(1e39).is_err());
    assert!(from_arg::<f64>((1_i64 << 53) + 1).is_err());
    assert!(from_arg::<f64>(i64::MAX).is_err());
    assert!(from_arg::<f32>((1 << 24) + 1).is_err());
    assert!(from_arg::<f32>(1e300).is_err());
    assert!(from_arg::<bool>(1).is_err());
    assert!(from_arg::<String>(5).is_err());
    let text = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: b"text".to_vec(),
    };
    assert!(from_arg::<String>(text).is_err());
}
