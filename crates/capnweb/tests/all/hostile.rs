//! Frames that break the protocol.

use crate::support::{Bench, frames, play};

/// Says frames, the last of which must end the session with this code.
#[track_caller]
fn ends(input: &[&str], code: &str) {
    let (sent, bench) = play(input);
    let last = sent.last().cloned().unwrap_or_default();
    assert_eq!(bench.violation().map(|violation| violation.code()), Some(code), "{input:?} gave {sent:?}");
    assert!(
        last.starts_with(r#"["abort",["error","#) && last.contains(&format!(r#"{{"code":"{code}"}}"#)),
        "{last}"
    );
    assert!(bench.session.is_ended());
    let stats = bench.session.stats();
    assert_eq!((stats.exports, stats.imports, stats.calls, stats.waiting, stats.kept_bytes), (0, 0, 0, 0, 0));
}

#[test]
fn what_is_no_json_ends_the_session() {
    for frame in [
        "",
        "not json",
        "[",
        r#"["push""#,
        r#"["pull",1] x"#,
        r#"["pull",1]["pull",1]"#,
        r#"["push","\x"]"#,
        r#"["push","\u12"]"#,
        "[\"push\",\"a\nb\"]",
        r#"["push",01]"#,
        r#"["push",1.]"#,
        r#"["push",.5]"#,
        r#"["push",-]"#,
        r#"["push",1e]"#,
        r#"["push",+1]"#,
        r#"["push",NaN]"#,
        r#"["push",nul]"#,
        r#"["push",{"a"}]"#,
        r#"["push",{"a":1,}]"#,
        r#"["push",[[1,]]]"#,
        r#"["push",{a:1}]"#,
        "[object ArrayBuffer]",
    ] {
        ends(&[frame], "NOT_JSON");
    }
}

#[test]
fn what_is_no_message_ends_the_session() {
    for frame in [
        "{}",
        "1",
        "\"push\"",
        "[]",
        "[1]",
        r#"["nosuch"]"#,
        r#"["push"]"#,
        r#"["stream"]"#,
        r#"["pull"]"#,
        r#"["pull","1"]"#,
        r#"["pull",0.5]"#,
        r#"["pull",1e300]"#,
        r#"["resolve",1]"#,
        r#"["resolve",null,1]"#,
        r#"["release",0]"#,
        r#"["release",0,"1"]"#,
        r#"["release",0,0.5]"#,
        r#"["abort"]"#,
        r#"["push",["export",5]]"#,
        r#"["push",["export",0]]"#,
        r#"["push",["promise",1]]"#,
        r#"["push",["writable",1]]"#,
        r#"["push",["readable",-1]]"#,
    ] {
        ends(&[frame], "BAD_MESSAGE");
    }
}

#[test]
fn expressions_without_meaning_end_the_session() {
    for expression in [
        "[]",
        "[1,2]",
        "[null]",
        r#"["nosuch",1]"#,
        "[[1],2]",
        r#"["undefined",1]"#,
        r#"["bigint",5]"#,
        r#"["bigint","12x"]"#,
        r#"["bigint",""]"#,
        r#"["bigint","-"]"#,
        r#"["bigint","0x10"]"#,
        r#"["date","today"]"#,
        r#"["bytes",5]"#,
        r#"["bytes","A"]"#,
        r#"["bytes","A-_A"]"#,
        r#"["bytes","AQI=="]"#,
        r#"["bytes","AQI","Nope"]"#,
        r#"["bytes","AQI","constructor"]"#,
        r#"["bytes","AQI","Uint32Array"]"#,
        r#"["error","Error"]"#,
        r#"["error",1,"m"]"#,
        r#"["error","Error","m",null,[[]]]"#,
        r#"["url"]"#,
        r#"["url","https://a/",1]"#,
        r#"["headers",[["a"]]]"#,
        r#"["headers",["a","b"]]"#,
        r#"["pipeline",0,"square"]"#,
        r#"["pipeline",0,[null]]"#,
        r#"["pipeline",0,["square"],5]"#,
        r#"["pipeline",0,["square"],[],1]"#,
        r#"["remap",0,[],[]]"#,
        r#"["remap",0,[],[["pipeline",0]],[1]]"#,
        r#"["remap",0,[],[],{}]"#,
    ] {
        ends(&[&format!(r#"["push",{expression}]"#)], "BAD_EXPRESSION");
    }
}

#[test]
fn ids_that_nobody_was_given_end_the_session() {
    for frame in [
        r#"["pull",99]"#,
        r#"["release",-1,1]"#,
        r#"["push",["pipeline",55,["x"],[]]]"#,
        r#"["push",["pipeline",1,["self"],[]]]"#,
        r#"["push",["import",-7]]"#,
        r#"["push",["remap",5,[],[],[1]]]"#,
        r#"["push",["remap",0,[],[["import",9]],[1]]]"#,
    ] {
        ends(&[frame], "NO_SUCH_ID");
    }
    ends(&[r#"["push",["readable",1]]"#], "NO_SUCH_PIPE");
    ends(&[r#"["push",1]"#, r#"["push",["readable",1]]"#], "NO_SUCH_PIPE");
    ends(&[r#"["pipe"]"#, r#"["push",[[["readable",1],["readable",1]]]]"#], "NO_SUCH_PIPE");
}

#[test]
fn references_are_counted_exactly() {
    for count in ["5", "2", "0", "-1", "9007199254740992"] {
        ends(&[&format!(r#"["release",0,{count}]"#)], "BAD_RELEASE");
    }
    ends(&[r#"["push",1]"#, r#"["release",1,1]"#, r#"["release",1,1]"#], "NO_SUCH_ID");
}

#[test]
fn an_id_is_given_to_a_promise_once() {
    ends(&[r#"["push",[[["promise",-1],["promise",-1]]]]"#], "ID_REUSED");
    ends(&[r#"["push",[[["promise",-1],["export",-1]]]]"#], "ID_REUSED");
    ends(&[r#"["push",[[["export",-1],["promise",-1]]]]"#], "ID_REUSED");
}

#[test]
fn calls_of_a_broken_frame_do_not_start() {
    let (_, bench) = play(&[
        r#"["push",["pipeline",0,["square"],[1]]]"#,
        r#"["push",[[["pipeline",0,["square"],[2]],["nosuch"]]]]"#,
    ]);
    assert_eq!(bench.started, ["Service.square"]);
}

#[test]
fn a_session_ends_once() {
    let mut bench = Bench::new();
    bench.session.receive("x");
    bench.session.closed();
    bench.session.receive(r#"["push",1]"#);
    bench.session.abort(capnweb::Error::plain("again"));
    assert_eq!(bench.heard().len(), 1);
    assert_eq!(bench.session.poll().map(|_| ()), None);
}

#[test]
fn an_abort_says_nothing_of_what_the_frame_held() {
    let (sent, bench) = play(&[r#"["push",["pipeline",0,["authenticate"],["s3cret",["s3cret-tag"]"#]);
    let shown = format!("{sent:?} {:?}", bench.closed);
    assert!(!shown.contains("\"s3cret\""), "{shown}");
}

#[test]
fn elements_that_nobody_asked_for_are_skipped() {
    let (sent, _) = play(&[r#"["push",7,{"future":[1,{"x":[]}]}]"#, r#"["pull",1,"more"]"#]);
    assert_eq!(sent, frames(&[r#"["resolve",1,7]"#]));
}

#[test]
fn frames_of_any_bytes_never_panic() {
    let pieces = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "d83c",
        "push",
        "\"push\"",
        "\"pull\"",
        "\"pipeline\"",
        "\"import\"",
        "\"remap\"",
        "\"release\"",
        "\"export\"",
        "\"promise\"",
        "\"readable\"",
        "\"pipe\"",
        "\"stream\"",
        "\"resolve\"",
        "\"error\"",
        "\"bytes\"",
        "0",
        "1",
        "-1",
        "2",
        "1e999",
        "null",
        "true",
        "\"square\"",
        " ",
        "é",
        "🎉",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut frame = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            frame.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        let mut bench = Bench::new();
        bench.say(&[&frame]);
        bench.say(&[&format!("[\"push\",{frame}]")]);
    }
}
