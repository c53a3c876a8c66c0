//! The command line of a benchmark: which cases to run, how long and how often.

use crate::Outcome;

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Pairs of runs that are interleaved.
    pub(crate) pairs: usize,
    /// Milliseconds of one run.
    pub(crate) millis: u64,
    /// Whether only to see that it works.
    pub(crate) quick: bool,
}

/// Name, and what it runs; returns whether its bars are met.
pub(crate) type Case = (&'static str, fn(Plan) -> Outcome<bool>);

/// The arguments of this process.
pub(crate) fn arguments() -> Vec<String> {
    // Cargo says `--bench`, which means nothing here.
    std::env::args().skip(1).filter(|argument| argument != "--bench").collect()
}

/// Runs the cases that are named; all, if none is.
pub(crate) fn run(words: &[&str], cases: &[Case]) -> Outcome<()> {
    let mut plan = Plan { pairs: 11, millis: 1_000, quick: false };
    let (mut chosen, mut strict) = (Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => plan = Plan { pairs: 3, millis: 100, quick: true },
            "--strict" => strict = true,
            "--pairs" => plan.pairs = words.next().ok_or("--pairs: how many?")?.parse()?,
            "--millis" => plan.millis = words.next().ok_or("--millis: how many?")?.parse()?,
            name => match cases.iter().find(|(case, _)| *case == name) {
                Some(case) => chosen.push(case),
                None => {
                    let names: Vec<_> = cases.iter().map(|(name, _)| *name).collect();
                    return Err(format!("there is no case {name}; there are: {}", names.join(" ")).into());
                }
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(cases);
    }
    let mut missed = Vec::new();
    for (name, case) in chosen {
        println!("\n== {name}");
        if !case(plan)? {
            missed.push(*name);
        }
    }
    if missed.is_empty() {
        println!("\nevery bar was met");
    } else {
        println!("\nbars were missed: {}", missed.join(" "));
    }
    if strict && !missed.is_empty() { Err("not good enough".into()) } else { Ok(()) }
}
