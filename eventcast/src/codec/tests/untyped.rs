//! `Args`, `args!` and `IntoArgs`.

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct User {
    id: u64,
}

fn sent(value: impl IntoArgs) -> Args {
    let mut bytes = Vec::new();
    value.encode_args(&mut bytes).unwrap();
    assert_eq!(check_document(&bytes), Ok(()));
    Args::from_raw(RawArgs::from_payload(&bytes).unwrap()).unwrap()
}

#[test]
fn what_can_be_emitted() {
    assert_eq!(sent(()), args![]);
    assert_eq!(sent(("hello", 5)), args!["hello", 5]);
    assert_eq!(sent((User { id: 1 },)), args![doc! { "id": 1 }]);
    assert_eq!(
        sent((
            1,
            2_i64,
            3_u8,
            4.0,
            "5",
            '6',
            true,
            (),
            Some(9),
            None::<u8>,
            [1],
            (2, 3)
        )),
        args![
            1,
            2,
            3,
            4.0,
            "5",
            "6",
            true,
            Bson::Null,
            9,
            Bson::Null,
            [1],
            [2, 3]
        ]
    );
    assert_eq!(sent("hi"), args!["hi"]);
    assert_eq!(sent("hi".to_owned()), args!["hi"]);
    let owned = "hi".to_owned();
    assert_eq!(sent(&owned), args![&owned]);
    assert_eq!(sent(true), args![true]);
    assert_eq!(sent(5_u64), args![5]);
    assert_eq!(sent(5_usize), args![5]);
    assert_eq!(sent(-5_i8), args![-5]);
    assert_eq!(sent(1.5_f32), args![1.5]);
    assert_eq!(sent('c'), args!["c"]);
    assert_eq!(sent(Bson::Null), args![()]);
    assert_eq!(sent(doc! { "a": 1_i64 }), args![doc! { "a": 1_i64 }]);
    assert_eq!(sent(Document::new()), args![doc! {}]);
    assert_eq!(sent(vec![Bson::Int64(1), Bson::Null]), args![1_i64, ()]);
    assert_eq!(
        sent(Bson::Array(vec![])),
        args![Bson::Array(vec![])],
        "not: no argument"
    );
    assert_eq!(sent((1, [2])), args![1, [2]]);
}

#[test]
fn a_bson_keeps_its_type_given_as_such() {
    for value in bson_types::every_type() {
        assert_eq!(sent(value.clone()), args![value.clone()]);
        assert_eq!(sent(&value), args![value.clone()]);
        assert_eq!(
            sent((value.clone(), &value, 1_i64)),
            args![value.clone(), value, 1]
        );
    }
    let all = bson_types::every_type();
    assert_eq!(sent(all.clone()), Args::from(all.clone()));
    assert_eq!(sent(Args::from(all.clone())).into_vec(), all);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut bytes = b"before".to_vec();
    let error = ("fine", User { id: u64::MAX })
        .encode_args(&mut bytes)
        .unwrap_err();
    assert_eq!(error.path(), "[1].id");
    assert!(u64::MAX.encode_args(&mut bytes).is_err());
    assert_eq!(bytes, b"before");
}

#[test]
fn args_are_a_list() {
    let args = args!["a", 1, Bson::Null];
    assert_eq!(args.len(), 3);
    assert_eq!(args[1], Bson::Int32(1));
    assert_eq!(format!("{args:?}"), format!("{:?}", &args[..]));
    assert_eq!((&args).into_iter().count(), 3);
    let copied: Args = args.iter().cloned().collect();
    assert_eq!(copied, args);
    assert_eq!(
        Args::from(args.clone().into_iter().collect::<Vec<_>>()),
        args
    );
    assert_eq!(args![], Args::default());
}

#[test]
fn the_macro_takes_values_of_many_types() {
    let id = ObjectId::from_bytes([1; 12]);
    let text = String::from("t");
    let args = args![
        1_u8,
        2_i16,
        3_u32,
        u32::MAX,
        4_i64,
        1.5_f32,
        'c',
        &text,
        text.clone(),
        Some("s"),
        None::<i32>,
        vec![1, 2],
        [[true]],
        &[1_i64][..],
        id,
        &id,
        (),
    ];
    assert_eq!(
        args.into_vec(),
        [
            Bson::Int32(1),
            Bson::Int32(2),
            Bson::Int32(3),
            Bson::Int64(u32::MAX.into()),
            Bson::Int64(4),
            Bson::Double(1.5),
            Bson::String("c".into()),
            Bson::String("t".into()),
            Bson::String("t".into()),
            Bson::String("s".into()),
            Bson::Null,
            Bson::Array(vec![Bson::Int32(1), Bson::Int32(2)]),
            Bson::Array(vec![Bson::Array(vec![Bson::Boolean(true)])]),
            Bson::Array(vec![Bson::Int64(1)]),
            Bson::ObjectId(id),
            Bson::ObjectId(id),
            Bson::Null,
        ]
    );
}

#[test]
fn args_decode_into_types() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Pair(u8, String);
    #[derive(Deserialize, Debug, PartialEq)]
    struct Unit;
    #[derive(Deserialize, Debug, PartialEq)]
    enum Cmd {
        Go(u8),
    }
    let two = args![1.0, "x"];
    assert_eq!(two.decode(), Ok((1_u8, "x".to_owned())));
    assert_eq!(two.decode(), Ok((1_u8,)), "a surplus is ignored");
    assert_eq!(two.decode(), Ok(Pair(1, "x".into())));
    assert_eq!(two.decode(), Ok(1_u8));
    assert_eq!(two.decode(), Ok(()));
    assert_eq!(two.decode(), Ok(Unit));
    assert_eq!(
        two.decode(),
        Ok(vec![Bson::Double(1.0), Bson::String("x".into())])
    );
    assert_eq!(two.decode(), Ok(Bson::Array(two.to_vec())));
    assert_eq!(two.decode(), Ok(Some(1_u8)));
    assert_eq!(two.decode(), Ok(Some((1_u8, "x".to_owned()))));
    assert_eq!(args![doc! { "id": 5.0 }].decode(), Ok(User { id: 5 }));
    assert_eq!(args![doc! { "Go": 1 }].decode(), Ok(Cmd::Go(1)));
    assert_eq!(args!["one"].decode(), Ok(Bson::String("one".into())));
    assert_eq!(args![[1, 2]].decode(), Ok((vec![1_u8, 2],)));
    assert_eq!(args![].decode(), Ok(None::<u8>));
    assert_eq!(args![()].decode(), Ok(None::<u8>));
    assert_eq!(args![].decode(), Ok(Vec::<u8>::new()));

    let error = args![1].decode::<(u8, u8)>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a tuple of size 2, found 1 argument(s)"
    );
    let error = args![].decode::<u8>().unwrap_err();
    assert_eq!(error.to_string(), "expected u8, found 0 argument(s)");
    let error = args![1, [1, -1]].decode::<(u8, Vec<u8>)>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "field \"[1][1]\": expected u8, found integer -1"
    );
}

#[test]
fn own_types_become_bson() {
    assert_eq!(
        to_bson(&User { id: 1 }).unwrap(),
        Bson::Document(doc! { "id": 1 })
    );
    assert_eq!(to_bson("x").unwrap(), Bson::String("x".into()));
    assert_eq!(to_bson(&Bson::Int64(1)).unwrap(), Bson::Int64(1));
    assert!(to_bson(&u64::MAX).is_err());
}

#[test]
fn null_nothing_and_empty_are_told_apart() {
    let forms = [
        args![],
        args![()],
        args![Bson::Array(vec![])],
        args![doc! {}],
        args![""],
    ];
    for (i, form) in forms.iter().enumerate() {
        let read = sent(form);
        assert_eq!(read, *form);
        assert!(
            forms
                .iter()
                .enumerate()
                .all(|(j, other)| (*other == read) == (i == j))
        );
    }
}
