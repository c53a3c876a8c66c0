//! Calls over one WebSocket, as many in flight as the window says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::answer;
use crate::speech::{Speech, answered};

/// Each line says for how many milliseconds calls are begun. The answer: calls, nanoseconds.
pub(crate) fn run(address: &str, key: &str, method: &str, window: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let speech = Rc::new(RefCell::new(Some(Speech::open(address, key).await?)));
        answer("ready", |line| {
            let speech = speech.clone();
            async move {
                let mut taken = speech.borrow_mut().take().ok_or("a run is under way")?;
                let counted = calls(&mut taken, method, window, Duration::from_millis(line.parse()?)).await?;
                speech.borrow_mut().replace(taken);
                Ok(counted)
            }
        })
        .await
    })
}

async fn calls(speech: &mut Speech, method: &str, window: usize, time: Duration) -> Outcome<String> {
    let begun = Instant::now();
    let (mut in_flight, mut done) = (0, 0_u64);
    loop {
        let is_over = begun.elapsed() >= time;
        while in_flight < window && !is_over {
            speech.call(method).await?;
            in_flight += 1;
        }
        speech.flush().await?;
        if in_flight == 0 {
            return Ok(format!("{done} {}", begun.elapsed().as_nanos()));
        }
        let mut frame = Some(speech.hear().await?);
        while let Some(heard) = frame {
            speech.release(answered(&heard)?).await?;
            in_flight -= 1;
            done += 1;
            frame = speech.heard()?;
        }
    }
}
