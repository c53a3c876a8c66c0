//! Frames that ask for more memory or time than they are long. What can be counted is counted; where the session's
//! own count could be what is wrong, a test has a process of its own and looks at what that one holds.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use capnweb::{Cause, Limits, Violation};

use crate::hostile::{after, call, goes_on};
use crate::support::Host;

/// How much a process may grow in a test.
const GROWTH: usize = 384 << 20;

#[test]
fn values_that_double_with_each_push_do_not_fill_the_memory() {
    alone("values_that_double_with_each_push_do_not_fill_the_memory", || {
        let mut host = after(&[r#"["push",[["0123456789"]]]"#]);
        for id in 1..64 {
            host.receive(&format!(r#"["push",[[["pipeline",{id}],["pipeline",{id}]]]]"#));
        }
        host.receive(r#"["pull",64]"#);
        let said = host.settle();
        let bytes: usize = said.frames.iter().map(String::len).sum();
        assert!(bytes < 64 << 20, "{bytes} bytes were said");
        assert!(host.kept_bytes() <= Limits::default().kept_bytes, "{} bytes kept", host.kept_bytes());
    });
}

#[test]
fn values_that_double_with_each_instruction_do_not_fill_the_memory() {
    alone("values_that_double_with_each_instruction_do_not_fill_the_memory", || {
        let steps: Vec<String> =
            (0..64).map(|k| format!(r#"[[["pipeline",{k}],["pipeline",{k}]]]"#)).collect();
        let mut host = after(&[
            r#"["push","0123456789"]"#,
            &format!(r#"["push",["remap",1,[],[],[{}]]]"#, steps.join(",")),
            r#"["pull",2]"#,
        ]);
        let said = host.settle();
        let bytes: usize = said.frames.iter().map(String::len).sum();
        assert!(bytes < 64 << 20, "{bytes} bytes were said");
        assert!(host.kept_bytes() <= Limits::default().kept_bytes, "{} bytes kept", host.kept_bytes());
    });
}

/// A value that many calls wait for is copied for each of them when it comes.
#[test]
fn a_value_that_many_wait_for_does_not_fill_the_memory_when_it_comes() {
    alone("a_value_that_many_wait_for_does_not_fill_the_memory_when_it_comes", || {
        let mut host = after(&[&call("gate", r#""k""#)]);
        let thirty = vec![r#"["pipeline",1]"#; 30].join(",");
        for _ in 0..1_000 {
            host.receive(&format!(r#"["push",[[{thirty}]]]"#));
        }
        let text = "x".repeat(1 << 20);
        host.receive(&call("open", &format!(r#""k","{text}""#)));
        host.settle();
        assert!(host.kept_bytes() <= Limits::default().kept_bytes, "{} bytes kept", host.kept_bytes());
    });
}

#[test]
fn a_value_that_many_ask_for_does_not_fill_the_memory_when_it_comes() {
    alone("a_value_that_many_ask_for_does_not_fill_the_memory_when_it_comes", || {
        let mut host = after(&[&call("echo", r#"["promise",-1]"#)]);
        for id in 2..1_000 {
            host.receive(r#"["push",["pipeline",1]]"#);
            host.receive(&format!(r#"["pull",{id}]"#));
        }
        host.receive(&format!(r#"["resolve",-1,"{}"]"#, "x".repeat(1 << 20)));
        ended_over(&host, "queued_bytes");
    });
}

#[test]
fn an_error_that_many_share_counts_as_kept_for_each() {
    alone("an_error_that_many_share_counts_as_kept_for_each", || {
        let mut host = after(&[&call("echo", r#"["promise",-1]"#)]);
        host.receive(&format!(r#"["reject",-1,["error","Error","{}"]]"#, "x".repeat(1 << 20)));
        for _ in 0..1_000 {
            host.receive(r#"["push",["pipeline",1,["x"],[]]]"#);
        }
        ended_over(&host, "kept_bytes");
    });
}

#[test]
fn captures_of_a_large_value_do_not_fill_the_memory() {
    alone("captures_of_a_large_value_do_not_fill_the_memory", || {
        let captures = vec![r#"["import",0]"#; 2_000].join(",");
        let mut host = after(&[
            &format!(r#"["push","{}"]"#, "x".repeat(1 << 20)),
            &format!(r#"["push",["remap",1,[],[],[["remap",0,[],[{captures}],[1]]]]]"#),
        ]);
        goes_on(&mut host);
    });
}

#[test]
fn pulls_that_are_released_before_their_answer_leave_nothing() {
    alone("pulls_that_are_released_before_their_answer_leave_nothing", || {
        let mut host = after(&[&call("never", "")]);
        let mut pull = |id: usize| {
            host.receive(r#"["push",["pipeline",1]]"#);
            host.receive(&format!(r#"["pull",{id}]"#));
            host.receive(&format!(r#"["release",{id},1]"#));
        };
        (2..20_000).for_each(&mut pull);
        let before = resident_bytes();
        (20_000..400_000).for_each(&mut pull);
        let grown = resident_bytes() - before;
        assert!(grown < 2 << 20, "{grown} bytes");
    });
}

/// Everything that an honest client does, over and over.
#[test]
fn a_long_session_leaves_nothing() {
    alone("a_long_session_leaves_nothing", || {
        let mut host = Host::new();
        (0..3_000).for_each(|round| honest_round(&mut host, round));
        let before = resident_bytes();
        (3_000..40_000).for_each(|round| honest_round(&mut host, round));
        let grown = resident_bytes() - before;
        assert!(grown < 2 << 20, "{grown} bytes");
        assert_eq!((host.exports(), host.imports(), host.kept_bytes()), (1, 0, 0));
    });
}

/// Calls, a counter, a callback, a promise, a map, an error, and streams both ways: everything given back.
fn honest_round(host: &mut Host, round: i64) {
    // What this client asks for in a round, and what the server does.
    let (first, asked) = (11 * round + 1, 4 * round + 1);
    let export = -2 * round - 1;
    let (counter, callback, promise) = (-round - 1, export, export - 1);
    for frame in [
        call("makeCounter", "5"),
        format!(r#"["pull",{first}]"#),
        format!(r#"["push",["pipeline",{counter},["increment"],[]]]"#),
        format!(r#"["release",{counter},1]"#),
        call("cb", &format!(r#"["export",{callback}]"#)),
        format!(r#"["resolve",{asked},7]"#),
        call("square", &format!(r#"["promise",{promise}]"#)),
        format!(r#"["pull",{}]"#, first + 3),
        format!(r#"["resolve",{promise},3]"#),
        format!(
            r#"["push",["remap",{},[],[["import",0]],[["pipeline",-1,["square"],[["pipeline",0]]]]]]"#,
            first + 3
        ),
        format!(r#"["pull",{}]"#, first + 4),
        call("fail", r#""RangeError","m",{}"#),
        format!(r#"["pull",{}]"#, first + 5),
        call("chunks", r#"[["one"]]"#),
        format!(r#"["pull",{}]"#, first + 6),
        format!(r#"["resolve",{},["undefined"]]"#, asked + 2),
        format!(r#"["resolve",{},["undefined"]]"#, asked + 3),
        r#"["pipe"]"#.to_owned(),
        call("consume", &format!(r#"["readable",{}]"#, first + 7)),
        format!(r#"["stream",["pipeline",{},["write"],["chunk"]]]"#, first + 7),
        format!(r#"["stream",["pipeline",{},["close"],[]]]"#, first + 7),
    ] {
        host.receive(&frame);
    }
    for id in first..first + 9 {
        host.receive(&format!(r#"["release",{id},1]"#));
    }
    host.settle();
    assert_eq!(host.ended(), None);
}

#[test]
fn arguments_of_calls_that_never_end_do_not_fill_the_memory() {
    alone("arguments_of_calls_that_never_end_do_not_fill_the_memory", || {
        let mut host = Host::new();
        let text = "x".repeat(1 << 20);
        for id in 1..1_000 {
            host.receive(&call("cb", &format!(r#"["export",-{id}],"{text}""#)));
        }
        ended_over(&host, "kept_bytes");
    });
}

#[test]
fn results_that_are_never_released_end_the_session_at_its_bound() {
    let mut host = Host::new();
    let text = "x".repeat(1 << 20);
    let mut most = 0;
    for _ in 0..64 {
        host.receive(&call("echo", &format!(r#""{text}""#)));
        host.settle();
        most = most.max(host.kept_bytes());
    }
    assert!(most <= Limits::default().kept_bytes, "{most} bytes kept");
    ended_over(&host, "kept_bytes");
}

#[test]
fn arguments_that_wait_for_a_promise_count_as_kept() {
    let mut host = Host::new();
    let text = "x".repeat(1 << 20);
    for id in 1..=64 {
        host.receive(&call("add", &format!(r#"["promise",-{id}],"{text}""#)));
        host.settle();
    }
    assert!(host.kept_bytes() <= Limits::default().kept_bytes, "{} bytes kept", host.kept_bytes());
    ended_over(&host, "kept_bytes");
}

#[test]
fn a_flood_of_pushes_that_nobody_pulls_ends_the_session_at_its_bound() {
    let mut host = Host::new();
    let bound = Limits::default().exports;
    let mut most = 0;
    for _ in 0..2 * bound {
        host.receive(&call("square", "2"));
        host.settle();
        most = most.max(host.exports());
    }
    assert!(most <= bound, "{most} exports");
    ended_over(&host, "exports");
}

#[test]
fn a_flood_of_calls_that_never_end_is_refused_call_by_call() {
    let mut host = Host::new();
    let bound = Limits::default().unanswered_calls;
    let mut rejected = 0;
    for id in 1..=bound + 10 {
        host.receive(&call("never", ""));
        host.receive(&format!(r#"["pull",{id}]"#));
        rejected += host.settle().frames.len();
    }
    assert_eq!(rejected, 10);
    assert_eq!(host.ended(), None);
}

#[test]
fn capabilities_of_the_peer_are_counted_by_number_not_by_size() {
    let mut host = Host::new();
    host.receive(&call("keep", r#"["export",-9007199254740991]"#));
    host.receive(&call("dropKept", ""));
    host.receive(r#"["pull",2]"#);
    let frames = host.settle().frames;
    assert_eq!(frames, [r#"["release",-9007199254740991,1]"#, r#"["resolve",2,["undefined"]]"#]);
    assert_eq!(host.imports(), 0);
}

#[test]
fn more_capabilities_than_may_be_held_end_the_session() {
    let mut host = Host::new();
    let bound = Limits::default().imports;
    let mut most = 0;
    for part in 0..4 {
        let some: Vec<String> =
            (1..=bound / 2).map(|k| format!(r#"["export",-{}]"#, part * bound + k)).collect();
        host.receive(&format!(r#"["push",[[{}]]]"#, some.join(",")));
        host.settle();
        most = most.max(host.imports());
    }
    assert!(most <= bound, "{most} imports");
    ended_over(&host, "imports");
}

#[test]
fn a_reader_that_never_acknowledges_is_written_no_further_than_the_window() {
    let text = "x".repeat(10_000);
    let chunks = vec![format!(r#""{text}""#); 1_000].join(",");
    let mut host = after(&[&call("chunks", &format!("[[{chunks}]]")), r#"["pull",1]"#]);
    let bytes: usize = host.settle().frames.iter().map(String::len).sum();
    assert!(bytes < 2 * Limits::default().stream_window, "{bytes} bytes on their way");
    goes_on(&mut host);
}

#[test]
fn a_reader_that_acknowledges_is_written_on() {
    let text = "x".repeat(10_000);
    let chunks = vec![format!(r#""{text}""#); 100].join(",");
    let mut host = after(&[&call("chunks", &format!("[[{chunks}]]")), r#"["pull",1]"#]);
    let (mut written, mut acknowledged) = (0, 0);
    loop {
        let frames = host.settle().frames;
        written += frames.iter().filter(|frame| frame.starts_with(r#"["stream","#)).count();
        if acknowledged == written {
            break;
        }
        acknowledged += 1;
        // The first number is the pipe's.
        host.receive(&format!(r#"["resolve",{},["undefined"]]"#, acknowledged + 1));
    }
    // A hundred chunks and the close.
    assert_eq!(written, 101);
    assert_eq!(host.imports(), 0);
}

#[test]
fn an_object_with_equal_keys_is_read_in_a_time_that_grows_with_its_length() {
    let keys: String = (0..100_000).map(|k| format!(r#""{k}":1,"#)).collect();
    let again = r#""99999":1,"#.repeat(400_000);
    let began = Instant::now();
    let mut host = after(&[&format!(r#"["push",{{{keys}{again}"a":1}}]"#)]);
    goes_on(&mut host);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn properties_of_a_large_object_are_found_in_a_time_that_does_not_grow_with_it() {
    let keys: String = (0..500_000).map(|k| format!(r#""{k}":1,"#)).collect();
    let mut host = after(&[&format!(r#"["push",{{{keys}"a":1}}]"#)]);
    let reads = vec![r#"["pipeline",1,["a"]]"#; 9_000].join(",");
    let began = Instant::now();
    host.receive(&format!(r#"["push",[[{reads}]]]"#));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    goes_on(&mut host);
}

#[test]
fn properties_of_a_large_result_that_is_written_down_are_not_read_without_end() {
    let mut host = after(&[&call("task", &format!(r#""{}""#, "x".repeat(1 << 20)))]);
    let reads = vec![r#"["pipeline",1,["state"]]"#; 5_000].join(",");
    let began = Instant::now();
    host.receive(&format!(r#"["push",[[{reads}]]]"#));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    goes_on(&mut host);
}

#[test]
fn copies_that_are_refused_do_not_cost_what_was_refused() {
    let numbers = vec!["1"; 1_000_000].join(",");
    let mut host = after(&[&format!(r#"["push",{{"a":[[{numbers}]]}}]"#)]);
    let reads = vec![r#"["pipeline",1,["a"]]"#; 9_000].join(",");
    let began = Instant::now();
    host.receive(&format!(r#"["push",[[{reads}]]]"#));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    goes_on(&mut host);
}

/// Asserts that the session has ended since it went over this bound.
#[track_caller]
fn ended_over(host: &Host, bound: &str) {
    let cause = host.ended().map(|closed| &closed.cause);
    assert!(
        matches!(cause, Some(Cause::Violation(Violation::Limit(name, _))) if *name == bound),
        "{cause:?}"
    );
}

/// Runs a test in a process of its own, and asserts that it does not grow too much.
fn alone(test: &str, body: impl FnOnce()) {
    const MARK: &str = "A2A_WEBCAP_ALONE";
    if env::var_os(MARK).is_none() {
        let this = env::current_exe().expect("a test has a program");
        let test = format!("hostile_memory::{test}");
        let output = Command::new(this).args(["--exact", &test, "--nocapture"]).env(MARK, "1").output();
        let output = output.expect("the program runs once more");
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}\n{wrong}");
        return;
    }
    let before = resident_bytes();
    body();
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB", grown >> 20);
}

/// The most that this process has held so far.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the high-water mark");
    let kilobytes: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kilobytes << 10
}
