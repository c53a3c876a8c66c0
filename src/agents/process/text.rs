//! Bytes of a program as text that is safe to show.

use std::fmt::Write as _;

use super::mask;

/// Makes text of bytes that come in pieces, which may end anywhere in a character. What is no UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub(in super::super) struct Utf8Stream {
    /// The beginning of a character: at most three bytes.
    rest: Vec<u8>,
}

impl Utf8Stream {
    /// The text that is whole with this piece.
    pub(in super::super) fn push(&mut self, piece: &[u8], text: &mut String) {
        let joined;
        let mut bytes = if self.rest.is_empty() {
            piece
        } else {
            joined = [&std::mem::take(&mut self.rest), piece].concat();
            &joined
        };
        loop {
            match std::str::from_utf8(bytes) {
                Ok(valid) => return text.push_str(valid),
                Err(error) => {
                    let (valid, after) = bytes.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(wrong) = error.error_len() else {
                        self.rest = after.to_vec();
                        return;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    bytes = &after[wrong..];
                }
            }
        }
    }

    /// What is left when nothing more comes.
    pub(in super::super) fn end(&mut self, text: &mut String) {
        if !std::mem::take(&mut self.rest).is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Text for a person: line breaks and tabs stay, every other control character is written as an escape.
pub(in super::super) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => clean.push(c),
            '\r' => {}
            c if c.is_control() => {
                let _ = write!(clean, "{}", c.escape_default());
            }
            c => clean.push(c),
        }
    }
    clean
}

/// The beginning of a line, for a log or an error.
pub(in super::super) fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 160;
    // Hidden before it is cut: half of a secret is known to nobody.
    let seen = &line[..line.len().min(SHOWN + mask::longest())];
    let seen = mask::hide(&String::from_utf8_lossy(seen));
    let mut text = String::with_capacity(SHOWN);
    for c in seen[..seen.floor_char_boundary(SHOWN)].chars() {
        match c.is_control() {
            true => text.extend(c.escape_default()),
            false => text.push(c),
        }
    }
    if line.len() > SHOWN { format!("{text}… ({} bytes)", line.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_out_whole_wherever_the_reads_cut_it() {
        let whole = "a€😀ü\u{0}\nz";
        for cut in 0..=whole.len() {
            for second in cut..=whole.len() {
                let (mut stream, mut text) = (Utf8Stream::default(), String::new());
                let bytes = whole.as_bytes();
                for piece in [&bytes[..cut], &bytes[cut..second], &bytes[second..]] {
                    stream.push(piece, &mut text);
                }
                stream.end(&mut text);
                assert_eq!(text, whole, "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_and_nothing_else_is_lost() {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        stream.push(b"a\xff\xc3", &mut text);
        stream.push(b"b\xe2\x82", &mut text);
        stream.end(&mut text);
        assert_eq!(text, "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\u{1b}[31mb\r\n\tc\u{85}"), "a\\u{1b}[31mb\n\tc\\u{85}");
        assert_eq!(excerpt(b"x\n\"\x1b[0m"), "x\\n\"\\u{1b}[0m");
        assert!(excerpt(&[b'y'; 500]).ends_with("… (500 bytes)"));
    }
}
