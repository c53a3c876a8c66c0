//! The terminal as the live line needs it: the cursor waits at the line's beginning, and what is behind it is cleared.
//!
//! A terminal that becomes narrower breaks a line into several rows. A cursor at its end would be on the last of them, and
//! taking back "the row" would leave the others. From the beginning all of them can be taken back, and so can the `^C`
//! that a terminal shows where the cursor is.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

/// Standard error. What is drawn is kept until it is whole.
#[derive(Debug, Default)]
pub(super) struct Screen(Mutex<String>);

impl Screen {
    fn push(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn moved(&self, rows: usize, direction: char) -> io::Result<()> {
        if rows == 0 { Ok(()) } else { self.push(&format!("\u{1b}[{rows}{direction}")) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        width().filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.moved(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.moved(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.moved(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.moved(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(text)?;
        self.push("\r\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\u{1b}[J")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Without the blanks that fill the row: they would be broken into rows too.
        let drawn = drawn.trim_end_matches(' ');
        // A terminal may be narrower by now than it says: what does not fit must not go to the next row.
        let line = format!("\u{1b}[?7l{drawn}\u{1b}[?7h\r");
        let mut stderr = io::stderr().lock();
        stderr.write_all(line.as_bytes())?;
        stderr.flush()
    }
}

#[cfg(unix)]
fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| size.ws_col)
}

#[cfg(not(unix))]
fn width() -> Option<u16> {
    None
}

/// Where a terminal does not say.
const USUAL_WIDTH: u16 = 80;
