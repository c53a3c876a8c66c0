//! Reading JSON text, one token at a time. Strict: what RFC 8259 does not allow is refused.

use std::borrow::Cow;

use crate::error::Violation;

/// A place in a text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Whether a string since this was last cleared had half of a surrogate pair, for which U+FFFD stands now.
    pub(crate) broken: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, broken: false }
    }

    /// The next byte that is no white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `byte`, if it is the next one.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, which must be the next one.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Violation> {
        if self.take(byte) { Ok(()) } else { Err(self.wrong()) }
    }

    /// After an element: whether another one follows, or `close`.
    pub(crate) fn more(&mut self, close: u8) -> Result<bool, Violation> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wrong()),
        }
    }

    /// Nothing may follow.
    pub(crate) fn end(&mut self) -> Result<(), Violation> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong()) }
    }

    /// That the text is not JSON at this place.
    pub(crate) fn wrong(&self) -> Violation {
        match self.at < self.text.len() {
            true => Violation::NotJson(format!("unexpected text at byte {}", self.at)),
            false => Violation::NotJson("it ends too early".to_owned()),
        }
    }

    /// Takes `null`, `true` or `false`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Violation> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong());
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a number. One that is too large is infinite, as in JavaScript.
    pub(crate) fn number(&mut self) -> Result<f64, Violation> {
        self.peek();
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let whole = digits(bytes, at);
        if whole == at || (bytes[at] == b'0' && whole > at + 1) {
            return Err(self.wrong());
        }
        at = whole;
        if bytes.get(at) == Some(&b'.') {
            let end = digits(bytes, at + 1);
            if end == at + 1 {
                return Err(self.wrong());
            }
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(bytes, at + 1 + sign);
            if end == at + 1 + sign {
                return Err(self.wrong());
            }
            at = end;
        }
        self.at = at;
        self.text[start..at].parse().map_err(|_| self.wrong())
    }

    /// Takes a string. It is borrowed if nothing in it is escaped.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Violation> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut owned = String::new();
        let mut copied = start;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    if copied == start {
                        return Ok(Cow::Borrowed(rest));
                    }
                    owned.push_str(rest);
                    return Ok(Cow::Owned(owned));
                }
                Some(b'\\') => {
                    owned.push_str(&self.text[copied..self.at]);
                    self.at += 1;
                    let character = self.escape()?;
                    owned.push(character);
                    copied = self.at;
                }
                Some(0..0x20) | None => return Err(self.wrong()),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Takes what follows a backslash.
    fn escape(&mut self) -> Result<char, Violation> {
        let byte = self.text.as_bytes().get(self.at).copied();
        let plain = match byte {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Takes the digits of `\uXXXX`, and the other half of a pair.
    fn unicode(&mut self) -> Result<char, Violation> {
        let first = self.hex()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        let before = self.at;
        if first < 0xdc00 && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        self.broken = true;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32, Violation> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.wrong())?;
        let mut code = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or_else(|| self.wrong())?;
            code = code << 4 | value;
        }
        self.at += 4;
        Ok(code)
    }

    /// Takes a value of any kind without looking at it, and gives its text. `deepest` brackets may be open at a time.
    pub(crate) fn skip(&mut self, deepest: usize) -> Result<&'a str, Violation> {
        self.peek();
        let start = self.at;
        // The brackets that are open, as the bytes that will close them.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                Some(b'[') if !self.opens(b']', &mut open, deepest)? => continue,
                Some(b'{') if !self.opens(b'}', &mut open, deepest)? => {
                    self.property()?;
                    continue;
                }
                Some(b'[' | b'{') => {}
                Some(b'"') => _ = self.string()?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => _ = self.number()?,
            }
            // One value is complete: so may be what it stands in.
            loop {
                let Some(close) = open.last().copied() else { return Ok(&self.text[start..self.at]) };
                if self.more(close)? {
                    if close == b'}' {
                        self.property()?;
                    }
                    break;
                }
                open.pop();
            }
            if open.is_empty() {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    /// Takes an opening bracket; true if it is closed at once.
    fn opens(&mut self, close: u8, open: &mut Vec<u8>, deepest: usize) -> Result<bool, Violation> {
        self.at += 1;
        if self.take(close) {
            return Ok(true);
        }
        if open.len() >= deepest {
            return Err(Violation::Limit("depth", deepest));
        }
        open.push(close);
        Ok(false)
    }

    fn property(&mut self) -> Result<(), Violation> {
        self.string()?;
        self.expect(b':')
    }
}

/// Where the digits that begin at `at` end.
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}
