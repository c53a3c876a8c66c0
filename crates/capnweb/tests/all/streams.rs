//! Streams, both ways.

use capnweb::{Chunk, Error};

use crate::support::{Bench, Value, answers, frames, play};

#[test]
fn a_stream_of_the_peer_is_read_and_acknowledged() {
    answers(
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["consume"],[["readable",1]]]]"#,
            r#"["pull",2]"#,
            r#"["stream",["pipeline",1,["write"],["one"]]]"#,
            r#"["stream",["pipeline",1,["write"],[[[2]]]]]"#,
            r#"["stream",["pipeline",1,["close"],[]]]"#,
            r#"["release",1,1]"#,
        ],
        &[
            r#"["resolve",3,["undefined"]]"#,
            r#"["resolve",4,["undefined"]]"#,
            r#"["resolve",2,[["one",[[2]]]]]"#,
            r#"["resolve",5,["undefined"]]"#,
        ],
    );
}

#[test]
fn chunks_that_come_before_the_reader_wait_for_it() {
    let (sent, mut bench) = play(&[
        r#"["pipe"]"#,
        r#"["stream",["pipeline",1,["write"],["a"]]]"#,
        r#"["stream",["pipeline",1,["close"],[]]]"#,
    ]);
    assert_eq!(sent, frames(&[]));
    let sent = bench.say(&[r#"["push",["pipeline",0,["consume"],[["readable",1]]]]"#, r#"["pull",4]"#]);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent.last().map(String::as_str), Some(r#"["resolve",4,[["a"]]]"#));
    bench.say(&[r#"["release",1,1]"#, r#"["release",4,1]"#]);
    let stats = bench.session.stats();
    assert_eq!((stats.pipes, stats.exports, stats.kept_bytes), (0, 1, 0));
}

#[test]
fn a_reader_that_waits_holds_the_writer_up() {
    let mut bench = Bench::new();
    bench.slow_reader = true;
    bench.say(&[r#"["pipe"]"#, r#"["push",["pipeline",0,["hoard"],[["readable",1]]]]"#]);
    let write = r#"["stream",["pipeline",1,["write"],["x"]]]"#;
    assert_eq!(bench.say(&[write, write]), frames(&[]));
    bench.session.answer(bench.unread[0], Ok(Value::Undefined));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",3,["undefined"]]"#]));
}

#[test]
fn the_reader_comes_before_what_is_read_even_if_its_call_waits() {
    let (_, mut bench) = play(&[
        r#"["pipe"]"#,
        r#"["push",["pipeline",0,["consume"],[["readable",1],["promise",-1]]]]"#,
        r#"["stream",["pipeline",1,["write"],["a"]]]"#,
    ]);
    assert_eq!(bench.written, [""; 0]);
    bench.say(&[r#"["resolve",-1,0]"#]);
    assert_eq!(bench.written, ["write a"]);
}

#[test]
fn a_stream_nobody_reads_rejects_its_writes() {
    answers(
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["ignore"],[["readable",1]]]]"#,
            r#"["pull",2]"#,
            r#"["stream",["pipeline",1,["write"],["x"]]]"#,
        ],
        &[r#"["resolve",2,"ignored"]"#, r#"["reject",3,["error","Error","nobody reads this stream"]]"#],
    );
}

#[test]
fn a_writer_that_goes_without_closing_breaks_the_stream_off() {
    let (_, bench) = play(&[
        r#"["pipe"]"#,
        r#"["push",["pipeline",0,["hoard"],[["readable",1]]]]"#,
        r#"["stream",["pipeline",1,["write"],["x"]]]"#,
        r#"["release",1,1]"#,
    ]);
    assert_eq!(bench.written, ["write x", "abort the writer has gone without closing the stream"]);
    assert_eq!(bench.session.stats().pipes, 0);
}

#[test]
fn a_stream_takes_nothing_after_its_end() {
    let (sent, _) = play(&[
        r#"["pipe"]"#,
        r#"["push",["pipeline",0,["hoard"],[["readable",1]]]]"#,
        r#"["stream",["pipeline",1,["abort"],["why"]]]"#,
        r#"["stream",["pipeline",1,["write"],["x"]]]"#,
        r#"["stream",["pipeline",1,["seek"],[]]]"#,
    ]);
    assert_eq!(sent[1], r#"["reject",4,["error","TypeError","the stream is closed"]]"#);
    assert_eq!(sent[2], r#"["reject",5,["error","TypeError","'seek' is not a function."]]"#);
}

#[test]
fn a_host_writes_a_stream() {
    let (_, mut bench) = play(&[r#"["push",["pipeline",0,["hold"],[]]]"#, r#"["pull",1]"#]);
    let (source, writer) = bench.session.pipe().expect("open");
    bench.session.answer(bench.held[0], Ok(Value::Source(source)));
    bench.session.stream(&writer, &["write"], &["one".into()]).expect("sent");
    bench.session.stream(&writer, &["close"], &[]).expect("sent");
    assert_eq!(
        bench.heard(),
        frames(&[
            r#"["pipe"]"#,
            r#"["resolve",1,["readable",1]]"#,
            r#"["stream",["pipeline",1,["write"],["one"]]]"#,
            r#"["stream",["pipeline",1,["close"],[]]]"#,
        ])
    );
    bench.say(&[r#"["resolve",2,["undefined"]]"#, r#"["resolve",3,["undefined"]]"#]);
    drop(writer);
    assert_eq!(bench.heard(), frames(&[r#"["release",1,1]"#]));
    assert_eq!(bench.session.stats().imports, 0);
}

#[test]
fn the_reading_end_of_a_stream_is_sent_once() {
    let mut bench = Bench::new();
    let (source, _writer) = bench.session.pipe().expect("open");
    let main = bench.session.main();
    bench.session.forget(&main, &["a"], &[Value::Source(source.clone())]).expect("sent");
    assert!(bench.session.forget(&main, &["b"], &[Value::Source(source)]).is_err());
}

#[test]
fn a_writable_stream_of_the_host_takes_calls() {
    let (sent, bench) = play(&[
        r#"["push",["pipeline",0,["sink"],[]]]"#,
        r#"["pull",1]"#,
        r#"["stream",["pipeline",-1,["write"],["x"]]]"#,
        r#"["stream",["pipeline",-1,["close"],[]]]"#,
        r#"["release",-1,1]"#,
        r#"["release",1,1]"#,
    ]);
    assert_eq!(sent[0], r#"["resolve",1,["writable",-1]]"#);
    assert_eq!(bench.written, ["write x", "close "]);
    assert_eq!(bench.dropped.len(), 1);
}

#[test]
fn a_writable_stream_of_the_peer_is_written_with_stream_calls() {
    let mut bench = Bench::new();
    let question = bench.session.call(&bench.session.main(), &["sink"], &[]).expect("sent");
    bench.say(&[r#"["resolve",1,["writable",-1]]"#]);
    let Some((_, Ok(Value::Writable(writer)))) = bench.answered.pop() else { panic!("a writable stream") };
    bench.session.stream(&writer, &["write"], &[1.into()]).expect("sent");
    assert_eq!(bench.heard(), frames(&[r#"["stream",["pipeline",-1,["write"],[1]]]"#]));
    drop(question);
}

#[test]
fn a_chunk_says_what_it_is() {
    let aborted: Chunk<()> = Chunk::Abort(Error::plain("x").into());
    assert_eq!(format!("{aborted:?}"), "Abort(Error)");
}
