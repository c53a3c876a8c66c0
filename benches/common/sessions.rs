//! What idle sessions cost a server.

use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::bar::Bar;
use crate::plan::Plan;
use crate::process::Process;

/// Opens sessions and looks at the server's memory. The client is told on each line how many there are to be in all.
pub(crate) fn measure(plan: Plan, server: &Process, mut client: Process, bar: Bar) -> Outcome<bool> {
    // What the first connections allocate once and for all is not theirs.
    client.ask("10")?;
    sleep(SETTLE);
    let empty = server.resident_bytes()?;
    let mut met = true;
    let counts: [u32; 2] = if plan.quick { [100, 500] } else { [1_000, 10_000] };
    for count in counts {
        client.ask(&(count + 10).to_string())?;
        sleep(SETTLE);
        met &= print(server, empty, (count, "just opened"), bar)?;
        if !plan.quick {
            sleep(PINGED);
            met &= print(server, empty, (count, "after two pings"), bar)?;
        }
    }
    Ok(met)
}

fn print(server: &Process, empty: u64, (count, when): (u32, &str), bar: Bar) -> Outcome<bool> {
    let resident = server.resident_bytes()?;
    let kilobytes = resident.saturating_sub(empty) as f64 / f64::from(count) / 1e3;
    let (verdict, met) = bar.judge(kilobytes);
    let total = resident as f64 / 1e6;
    println!("{count:6} idle sessions, {when:15} {kilobytes:6.1} KB each, {total:.0} MB in all   {verdict}");
    Ok(met)
}

/// Time for what a connection needed only while it was opened to go away.
const SETTLE: Duration = Duration::from_secs(2);
/// Two ping intervals.
const PINGED: Duration = Duration::from_secs(45);
