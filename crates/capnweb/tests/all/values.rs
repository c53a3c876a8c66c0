//! Every form of value, read and written.

use capnweb::{BigInt, Bytes, BytesKind, Data, Encoded, Error, Object};

use crate::support::{answers, play};

/// Sends a value and expects it back.
#[track_caller]
fn echoes(sent: &str, back: &str) {
    let push = format!(r#"["push",["pipeline",0,["echo"],[{sent}]]]"#);
    answers(&[&push, r#"["pull",1]"#], &[&format!(r#"["resolve",1,{back}]"#)]);
}

/// Sends a value and expects that its call fails, and nothing else.
#[track_caller]
fn fails_alone(sent: &str, why: &str) {
    let push = format!(r#"["push",["pipeline",0,["echo"],[{sent}]]]"#);
    let (output, bench) =
        play(&[&push, r#"["pull",1]"#, r#"["push",["pipeline",0,["val"]]]"#, r#"["pull",2]"#]);
    assert_eq!(output.len(), 2, "{output:?}");
    assert!(
        output[0].starts_with(r#"["reject",1,["error","TypeError","#) && output[0].contains(why),
        "{output:?}"
    );
    assert_eq!(output[1], r#"["resolve",2,42]"#);
    assert!(bench.closed.is_none());
}

#[test]
fn values_come_back_as_they_went() {
    for value in [
        "null",
        "true",
        "false",
        "0",
        "-17",
        "0.1",
        "9007199254740991",
        "\"\"",
        r#""a \"b\" \\ \n\u0001 é 🎉""#,
        "[[]]",
        "[[1,[[2]],{}]]",
        r#"{"a":{"b":[[null]]},"":1}"#,
        r#"["undefined"]"#,
        r#"["inf"]"#,
        r#"["-inf"]"#,
        r#"["nan"]"#,
        r#"["bigint","-123456789012345678901234567890"]"#,
        r#"["date",1700000000000.5]"#,
        r#"["date",null]"#,
        r#"["bytes","AQI"]"#,
        r#"["bytes",""]"#,
        r#"["bytes","AQIDBA","Uint16Array"]"#,
        r#"["error","RangeError","m"]"#,
        r#"["error","RangeError","m","at x"]"#,
        r#"["error","Error","m",null,{"code":5,"cause":["error","Error","inner"]}]"#,
        r#"["url","https://example.com/a?b#c"]"#,
        r#"["headers",[["accept","*/*"],["x-a","1"]]]"#,
    ] {
        echoes(value, value);
    }
}

#[test]
fn values_are_written_in_one_way() {
    echoes("1.0", "1");
    echoes("-0", "0");
    echoes("1e3", "1000");
    echoes("1e400", r#"["inf"]"#);
    echoes("1.5E-9", "1.5e-9");
    echoes("1e21", "1e21");
    echoes(r#""é\/""#, "\"é/\"");
    echoes(r#""\ud83c\udf89""#, "\"🎉\"");
    echoes(r#"["bytes","AQI="]"#, r#"["bytes","AQI"]"#);
    echoes(r#"["bigint","007"]"#, r#"["bigint","7"]"#);
    echoes(r#"["bigint","-0"]"#, r#"["bigint","0"]"#);
    echoes(r#"["date",9e15]"#, r#"["date",null]"#);
    echoes(r#"["headers",[["Accept","x"]]]"#, r#"["headers",[["accept","x"]]]"#);
    echoes(" [ [ 1 , 2 ] ] ", "[[1,2]]");
}

#[test]
fn numbers_keep_every_bit() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(seed);
        if !number.is_finite() {
            continue;
        }
        let text = Encoded::new(&Data::Number(number)).expect("a number");
        assert_eq!(text.to_value::<()>().as_f64(), Some(number), "{}", text.as_str());
    }
}

#[test]
fn of_properties_with_one_name_the_last_counts() {
    echoes(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
    let many: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{n}")).collect();
    let unique = many.join(",");
    echoes(&format!("{{{unique},\"k3\":\"x\",\"k39\":\"y\"}}"), &{
        format!("{{{unique}}}").replace("\"k3\":3,", "\"k3\":\"x\",").replace("\"k39\":39", "\"k39\":\"y\"")
    });
}

#[test]
fn names_that_mislead_javascript_are_dropped() {
    let push = r#"["push",["pipeline",0,["keys"],[{"__proto__":1,"toString":2,"toJSON":3,"constructor":4,"ok":5}]]]"#;
    answers(&[push, r#"["pull",1]"#], &[r#"["resolve",1,[["ok"]]]"#]);
    echoes(r#"["error","Error","m",null,{"__proto__":1,"a":2}]"#, r#"["error","Error","m",null,{"a":2}]"#);
}

#[test]
fn stubs_under_dropped_names_are_released() {
    answers(
        &[
            r#"["push",["pipeline",0,["keys"],[{"toJSON":["export",-1],"ok":["export",-2]}]]]"#,
            r#"["pull",1]"#,
        ],
        &[r#"["release",-1,1]"#, r#"["release",-2,1]"#, r#"["resolve",1,[["ok"]]]"#],
    );
}

#[test]
fn an_error_keeps_its_name_and_loses_its_stubs() {
    let error = r#"["error","A2AError","m",null,{"f":["export",-1],"name":"x"}]"#;
    answers(
        &[&format!(r#"["push",["pipeline",0,["echo"],[{error}]]]"#), r#"["pull",1]"#],
        &[r#"["release",-1,1]"#, r#"["resolve",1,["error","A2AError","m",null,{"f":["undefined"]}]]"#],
    );
}

#[test]
fn what_is_not_supported_fails_its_call_alone() {
    fails_alone(r#"["request","https://a/",{"method":"POST","headers":[["a","b"]],"body":"x"}]"#, "Request");
    fails_alone(r#"["response","body",{"status":404}]"#, "Response");
    fails_alone(r#"["url","no url"]"#, "Invalid URL");
    fails_alone(r#"["headers",[["a b","c"]]]"#, "Invalid header");
    fails_alone(r#"{"deep":[["half \ud83c"]]}"#, "surrogate");
    fails_alone(r#"{"\udf89":1}"#, "surrogate");
}

#[test]
fn a_blob_fails_its_call_and_its_stream_is_cancelled() {
    answers(
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["echo"],[["blob","text/plain",["readable",1]]]]]"#,
            r#"["stream",["pipeline",1,["write"],["x"]]]"#,
            r#"["pull",2]"#,
        ],
        &[
            r#"["reject",3,["error","Error","nobody reads this stream"]]"#,
            r#"["reject",2,["error","TypeError","Blob objects are not supported here"]]"#,
        ],
    );
}

#[test]
fn an_encoded_value_is_sent_as_it_is_and_read_back() {
    let data: Data = Object::new()
        .with("list", vec![Data::Undefined, 1.into(), Data::BigInt(BigInt::from(-5_i64))])
        .with("bytes", Data::Bytes(Box::new(Bytes { data: vec![1, 2, 3], kind: BytesKind::ArrayBuffer })))
        .with("error", Error::type_error("no").with("code", 3))
        .into();
    let encoded = Encoded::new(&data).expect("data");
    assert_eq!(
        encoded.as_str(),
        r#"{"list":[[["undefined"],1,["bigint","-5"]]],"bytes":["bytes","AQID","ArrayBuffer"],"error":["error","TypeError","no",null,{"code":3}]}"#
    );
    assert_eq!(encoded.to_value::<capnweb::Never>(), data);
    assert!(Encoded::parse(encoded.as_str()).is_ok_and(|parsed| parsed == encoded));
    assert!(Encoded::parse(r#"{"a":["export",-1]}"#).is_err(), "capabilities need a session");
    assert!(Encoded::parse("1 2").is_err());
}

#[test]
fn debug_shows_no_contents() {
    let value: Data = Object::new().with("token", "s3cret").with("list", vec!["s3cret".into()]).into();
    let shown = format!("{value:?} {:?}", Encoded::new(&value));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[cfg(feature = "serde")]
mod json {
    use capnweb::{Data, Encoded};
    use serde_json::json;

    #[test]
    fn what_serializes_is_written_with_its_arrays_wrapped() {
        let json = json!({"a": [1, [], {"b": [null]}], "big": 9_007_199_254_740_993_u64, "neg": -3});
        let encoded = Encoded::serialize(&json).expect("serializes");
        assert_eq!(
            encoded.as_str(),
            r#"{"a":[[1,[[]],{"b":[[null]]}]],"big":["bigint","9007199254740993"],"neg":-3}"#
        );
        assert_eq!(encoded.to_value::<()>().into_json().expect("data"), json);
        assert_eq!(Encoded::new(&Data::from_json(json)).expect("data"), encoded);
    }

    #[test]
    fn a_value_is_the_json_that_javascript_would_make_of_it() {
        let text = r#"{"u":["undefined"],"l":[[["undefined"]]],"d":["date",1700000000123],"e":["date",-1],"b":["bytes","AQI"],"n":1.5,"w":3.0}"#;
        let value = Encoded::parse(text).expect("an expression").to_value::<()>();
        assert_eq!(
            value.into_json().expect("data"),
            json!({"l": [null], "d": "2023-11-14T22:13:20.123Z", "e": "1969-12-31T23:59:59.999Z", "b": "AQI=", "n": 1.5, "w": 3})
        );
    }

    #[test]
    fn what_is_no_json_is_named_by_its_place() {
        let value = Encoded::parse(r#"{"a":[[1,["nan"]]]}"#).expect("an expression").to_value::<()>();
        let error = value.into_json().expect_err("not a number");
        assert_eq!(error.message, "a[1] is a number that is none, where plain data is expected");
    }
}
