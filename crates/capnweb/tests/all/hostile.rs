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

/// Says things that are nearly always messages, with ids that are nearly always right.
struct Babbler {
    seed: u64,
    pushes: i64,
    live: Vec<i64>,
    pipes: Vec<i64>,
    promises: i64,
}

impl Babbler {
    fn below(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % bound
    }

    fn pick(&mut self, words: &[&str]) -> String {
        words[self.below(words.len())].to_owned()
    }

    /// An id that the babbler holds, or seldom one that it may not hold.
    fn held(&mut self) -> i64 {
        match self.below(40) {
            0 => -1 - i64::try_from(self.below(4)).expect("small"),
            1..6 => 0,
            _ if self.live.is_empty() => 0,
            any => self.live[any % self.live.len()],
        }
    }

    fn pushed(&mut self) -> i64 {
        self.pushes += 1;
        self.live.push(self.pushes);
        self.pushes
    }

    fn path(&mut self) -> String {
        const PATHS: [&str; 16] = [
            "[]",
            r#"["square"]"#,
            r#"["echo"]"#,
            r#"["hold"]"#,
            r#"["nested"]"#,
            r#"["tasks"]"#,
            r#"["makeCounter"]"#,
            r#"["cb"]"#,
            r#"["keep"]"#,
            r#"["gate"]"#,
            r#"["sink"]"#,
            r#"["val"]"#,
            r#"["list",0]"#,
            r#"["s","hi"]"#,
            r#"["write"]"#,
            r#"["close"]"#,
        ];
        self.pick(&PATHS)
    }

    fn expression(&mut self, depth: usize) -> String {
        let simple = depth > 2;
        match self.below(if simple { 7 } else { 13 }) {
            0 => self.pick(&["1", "null", "\"x\"", r#"["undefined"]"#, r#"["nan"]"#, "{}", "[[]]"]),
            1 => format!(r#"["export",{}]"#, -1 - i64::try_from(self.below(6)).expect("small")),
            2 => {
                self.promises += 1;
                format!(r#"["promise",{}]"#, -100 - self.promises)
            }
            3 => format!(r#"["{}",{}]"#, self.pick(&["import", "pipeline"]), self.held()),
            4 => self.pipes.pop().map_or("0".to_owned(), |pipe| format!(r#"["readable",{pipe}]"#)),
            5 => format!(r#"["writable",{}]"#, -80 - i64::try_from(self.below(3)).expect("small")),
            6 => format!(r#"["pipeline",{},{}]"#, self.held(), self.path()),
            7 => format!("[[{},{}]]", self.expression(depth + 1), self.expression(depth + 1)),
            8 => format!(r#"{{"a":{},"toJSON":{}}}"#, self.expression(depth + 1), self.expression(depth + 1)),
            9 => format!(
                r#"["remap",{},[],[["import",{}]],[["pipeline",-1,{},[["pipeline",0]]],{}]]"#,
                self.held(),
                self.held(),
                self.path(),
                self.pick(&["[\"pipeline\",1]", "[\"pipeline\",0]", "7"])
            ),
            10 => format!(r#"["error","E","m",null,{{"p":{}}}]"#, self.expression(depth + 1)),
            _ => format!(r#"["pipeline",{},{},[{}]]"#, self.held(), self.path(), self.expression(depth + 1)),
        }
    }

    fn frame(&mut self) -> String {
        match self.below(10) {
            0 => {
                let pipe = self.pushed();
                self.pipes.push(pipe);
                r#"["pipe"]"#.to_owned()
            }
            1 => format!(r#"["pull",{}]"#, self.held()),
            2 if self.live.len() > 3 => {
                let index = self.below(self.live.len());
                let id = self.live.swap_remove(index);
                self.pipes.retain(|pipe| *pipe != id);
                format!(r#"["release",{id},1]"#)
            }
            3 => {
                let id = match self.below(2) {
                    0 => 1 + i64::try_from(self.below(4)).expect("small"),
                    _ => -100 - i64::try_from(self.below(8)).expect("small"),
                };
                format!(r#"["{}",{id},{}]"#, self.pick(&["resolve", "reject"]), self.expression(0))
            }
            4 => {
                let expression = self.expression(0);
                self.pushes += 1;
                format!(r#"["stream",{expression}]"#)
            }
            _ => {
                let expression = self.expression(0);
                self.pushed();
                format!(r#"["push",{expression}]"#)
            }
        }
    }
}

#[test]
fn a_peer_that_says_anything_leaves_nothing_behind() {
    let (mut ended, mut frames) = (0, 0);
    for seed in 0..4_000 {
        let mut babbler = Babbler { seed, pushes: 0, live: Vec::new(), pipes: Vec::new(), promises: 0 };
        let mut bench = Bench::new();
        for _ in 0..30 {
            let frame = babbler.frame();
            bench.say(&[&frame]);
            frames += 1;
            if bench.closed.is_some() {
                ended += 1;
                break;
            }
            if babbler.below(4) == 0
                && let Some(call) = bench.held.pop()
            {
                bench.session.answer(call, Ok(7.into()));
            }
        }
        bench.session.closed();
        bench.work();
        bench.forget();
        bench.work();
        let stats = bench.session.stats();
        let left = (stats.exports, stats.imports, stats.calls, stats.waiting, stats.questions, stats.pipes);
        assert_eq!((left, stats.kept_bytes), ((0, 0, 0, 0, 0, 0), 0), "seed {seed}");
        assert_eq!(bench.dropped.len(), bench.made, "seed {seed}");
    }
    assert!(ended < 4_000 && frames > 20_000, "{frames} frames, {ended} sessions ended: most should go on");
}
