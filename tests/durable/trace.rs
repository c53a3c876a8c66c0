//! Reads what strace has written: system calls with their arguments, when each began and when it ended.

use std::collections::HashMap;

/// One system call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The line at which it was entered. What it did was done after that,
    pub(crate) begin: usize,
    /// and before this line; `usize::MAX` if the trace ends in the midst of it.
    pub(crate) end: usize,
    /// The thread.
    pub(crate) thread: u32,
    pub(crate) name: String,
    /// As written; a text is in quotes and in hexadecimal.
    pub(crate) arguments: Vec<String>,
    /// What it returned; none if it failed or never returned.
    pub(crate) returned: Option<i64>,
    /// Whether strace made it fail.
    pub(crate) injected: bool,
}

/// The calls of a trace, in the order in which they ended.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<u32, (usize, &str)> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let (thread, text) = text.split_once(' ').expect("a line begins with the thread");
        let thread = thread.parse().expect("a thread's number");
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (line, begun));
        } else if text.starts_with("<... ") {
            let (_, rest) = text.split_once(" resumed>").expect("it says what goes on");
            let (begin, begun) = unfinished.remove(&thread).expect("it has begun");
            calls.push(call(&format!("{begun}{rest}"), thread, begin, line));
        } else {
            calls.push(call(text, thread, line, line));
        }
    }
    let mut rest: Vec<_> = unfinished.into_iter().collect();
    rest.sort_by_key(|(_, (begin, _))| *begin);
    calls.extend(rest.into_iter().map(|(thread, (line, text))| call(text, thread, line, usize::MAX)));
    calls
}

fn call(text: &str, thread: u32, begin: usize, end: usize) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {}", cut(text)));
    let (arguments, after) = split(rest);
    let result = after.trim_start().strip_prefix("= ").unwrap_or("?");
    // A descriptor comes with its path, a failure with its name.
    let number = result.split(['<', ' ']).next().unwrap_or_default();
    let returned = number.parse().ok().filter(|number| *number >= 0);
    let injected = result.contains("(INJECTED)");
    Call { begin, end, thread, name: name.to_owned(), arguments, returned, injected }
}

/// The arguments up to the closing parenthesis, and what follows it.
fn split(text: &str) -> (Vec<String>, &str) {
    let (mut arguments, mut depth, mut from, mut at) = (Vec::new(), 0_usize, 0, 0);
    let bytes = text.as_bytes();
    let take = |from: usize, to: usize| text[from..to].trim().to_owned();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += 1 + text[at + 1..].find('"').unwrap_or(text.len() - at - 2),
            b'<' if bytes.get(at + 1) == Some(&b'\\') => {
                at += text[at..].find('>').unwrap_or(text.len() - at - 1);
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                arguments.push(take(from, at));
                return (arguments, &text[at + 1..]);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                arguments.push(take(from, at));
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    arguments.push(take(from, text.len()));
    (arguments, "")
}

fn cut(text: &str) -> &str {
    text.get(..200).unwrap_or(text)
}

impl Call {
    fn argument(&self, index: usize) -> &str {
        let argument = self.arguments.get(index);
        argument.unwrap_or_else(|| panic!("{} has no argument {index}: {:?}", self.name, self.arguments))
    }

    /// A number, or a descriptor's; none for `AT_FDCWD` and `NULL`.
    pub(crate) fn number(&self, index: usize) -> Option<i64> {
        self.argument(index).split('<').next().and_then(|number| number.parse().ok())
    }

    pub(crate) fn offset(&self, index: usize) -> usize {
        let number = self.number(index).and_then(|number| usize::try_from(number).ok());
        number.unwrap_or_else(|| panic!("no offset: {} {:?}", self.name, self.arguments))
    }

    /// A text.
    pub(crate) fn bytes(&self, index: usize) -> Vec<u8> {
        let text = self.argument(index).strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        unhex(text.unwrap_or_else(|| panic!("{}: {}", self.name, cut(self.argument(index)))))
    }

    pub(crate) fn path(&self, index: usize) -> String {
        String::from_utf8(self.bytes(index)).expect("these tests have no other paths")
    }

    /// The path of a descriptor, as strace knew it when the call began.
    pub(crate) fn path_of_descriptor(&self, index: usize) -> Option<String> {
        let path = self.arguments.get(index)?.split_once('<')?.1.strip_suffix('>')?;
        String::from_utf8(unhex(path)).ok()
    }

    /// The texts of a list of buffers, one after the other.
    pub(crate) fn buffers(&self, index: usize) -> Vec<u8> {
        let bases = self.argument(index).split("iov_base=\"").skip(1);
        bases.flat_map(|base| unhex(base.split('"').next().unwrap_or_default())).collect()
    }

    pub(crate) fn says(&self, index: usize, flag: &str) -> bool {
        self.arguments.get(index).is_some_and(|flags| flags.split('|').any(|one| one == flag))
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte - b'a' + 10,
    };
    let bytes = text.as_bytes();
    assert!(bytes.len().is_multiple_of(4), "not in hexadecimal as a whole: {}", cut(text));
    bytes.chunks_exact(4).map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_others_interrupt_is_put_together_again() {
        let trace = "7 write(3<\\x2f\\x61>, \"\\x68\\x69\", 2 <unfinished ...>\n\
                     8 fsync(4<\\x2f>)    = -1 EIO (Input/output error) (INJECTED)\n\
                     7 <... write resumed>)       = 2\n\
                     7 writev(3, [{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\\x62\\x63\", iov_len=2}], 2) = 3\n\
                     8 fdatasync(4<\\x2f> <unfinished ...>\n\
                     7 +++ exited with 0 +++\n";
        let calls = calls(trace);
        let times: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.begin, call.end)).collect();
        let never = usize::MAX;
        assert_eq!(times, [("fsync", 1, 1), ("write", 0, 2), ("writev", 3, 3), ("fdatasync", 4, never)]);
        assert_eq!((calls[0].returned, calls[0].injected), (None, true));
        assert_eq!(
            (calls[1].number(0), calls[1].bytes(1), calls[1].returned),
            (Some(3), b"hi".to_vec(), Some(2))
        );
        assert_eq!(calls[1].path_of_descriptor(0).as_deref(), Some("/a"));
        assert_eq!(calls[2].buffers(1), b"abc");
    }
}
