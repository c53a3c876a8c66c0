//! `.map()`.

use capnweb::Limits;

use crate::support::{Bench, answers, frames, play};

#[test]
fn a_function_is_mapped_over_the_elements_of_a_result() {
    answers(
        &[
            r#"["push",["pipeline",0,["tasks"],[]]]"#,
            r#"["push",["remap",1,[],[["import",0]],[["pipeline",-1,["echo"],[{"t":["pipeline",0,["id"]]}]],["pipeline",1,["t"]]]]]"#,
            r#"["pull",2]"#,
        ],
        &[r#"["resolve",2,[["a","b"]]]"#],
    );
}

#[test]
fn nothing_maps_to_itself_and_one_value_is_mapped_once() {
    let mapped = |value: &str, result: &str| {
        answers(
            &[
                &format!(r#"["push",{{"v":{value}}}]"#),
                r#"["push",["remap",1,["v"],[],[{"x":["pipeline",0]}]]]"#,
                r#"["pull",2]"#,
            ],
            &[&format!(r#"["resolve",2,{result}]"#)],
        );
    };
    mapped("null", "null");
    mapped(r#"["undefined"]"#, r#"["undefined"]"#);
    mapped("5", r#"{"x":5}"#);
    mapped("[[]]", "[[]]");
    mapped("[[1,null]]", r#"[[{"x":1},{"x":null}]]"#);
}

#[test]
fn a_remap_waits_for_what_it_works_on() {
    let (_, mut bench) = play(&[
        r#"["push",["pipeline",0,["hold"],[]]]"#,
        r#"["push",["remap",1,[],[],[["pipeline",0,["n"]]]]]"#,
        r#"["pull",2]"#,
    ]);
    let list = vec![capnweb::Object::new().with("n", 1).into(), capnweb::Object::new().with("n", 2).into()];
    bench.session.answer(bench.held[0], Ok(list.into()));
    assert_eq!(bench.heard(), frames(&[r#"["resolve",2,[[1,2]]]"#]));
}

#[test]
fn remaps_nest() {
    answers(
        &[
            r#"["push",[[[[1,2]],[[3]]]]]"#,
            r#"["push",["remap",1,[],[["import",0]],[["remap",0,[],[["import",-1]],[["pipeline",-1,["square"],[["pipeline",0]]]]]]]]"#,
            r#"["pull",2]"#,
        ],
        &[r#"["resolve",2,[[[[1,4]],[[9]]]]]"#],
    );
}

#[test]
fn what_a_remap_may_not_do_fails_it_alone() {
    for instructions in
        [r#"[["export",-1]]"#, r#"[["pipeline",7]]"#, r#"[["nosuch"]]"#, "[]", r#"[["readable",1]]"#]
    {
        let (sent, bench) = play(&[
            r#"["push",[[1]]]"#,
            &format!(r#"["push",["remap",1,[],[],{instructions}]]"#),
            r#"["pull",2]"#,
        ]);
        assert!(sent.len() == 1 && sent[0].starts_with(r#"["reject",2,"#), "{instructions}: {sent:?}");
        assert!(bench.closed.is_none());
        assert_eq!(bench.session.stats().imports, 0);
    }
}

#[test]
fn the_work_of_a_remap_is_bounded_with_all_that_is_nested_in_it() {
    let mut limits = Limits::default();
    limits.remap_steps = 100;
    let mut bench = Bench::with(limits);
    let ten = "[[0,0,0,0,0,0,0,0,0,0]]";
    let sent = bench.say(&[
        &format!(r#"["push",[[{0},{0},{0},{0},{0},{0},{0},{0},{0},{0}]]]"#, ten),
        r#"["push",["remap",1,[],[],[["remap",0,[],[],[["pipeline",0]]]]]]"#,
        r#"["pull",2]"#,
        r#"["push",["pipeline",0,["val"]]]"#,
        r#"["pull",3]"#,
    ]);
    assert!(sent[0].starts_with(r#"["reject",2,["error","RangeError","#), "{sent:?}");
    assert_eq!(sent[1], r#"["resolve",3,42]"#);
}

#[test]
fn captures_are_given_back_with_the_remap() {
    let (sent, bench) = play(&[
        r#"["push",[[1]]]"#,
        r#"["push",["remap",1,[],[["export",-1]],[["pipeline",0]]]]"#,
        r#"["pull",2]"#,
    ]);
    assert_eq!(sent, frames(&[r#"["release",-1,1]"#, r#"["resolve",2,[[1]]]"#]));
    assert_eq!(bench.session.stats().imports, 0);
}
