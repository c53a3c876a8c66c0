//! What is told of settings that make no sense: not a text that stands where keys are, which may be one.

use figment::error::{Actual, Kind};

/// The error without what may be secret in it.
pub(super) fn told(error: &figment::Error) -> String {
    let mut error = error.clone();
    // Those at the top, and those of an agent.
    let of_keys = error.path.iter().any(|key| key.eq_ignore_ascii_case("keys"));
    error.kind = match error.kind {
        Kind::InvalidType(Actual::Str(_), expected) if of_keys => {
            Kind::InvalidType(Actual::Other("a text".to_owned()), expected)
        }
        Kind::InvalidValue(Actual::Str(_), expected) if of_keys => {
            Kind::InvalidValue(Actual::Other("a text".to_owned()), expected)
        }
        Kind::Message(message) => Kind::Message(without_excerpt(&message)),
        other => other,
    };
    error.to_string()
}

/// A parser's message without the line that it shows: its number is enough to find it.
fn without_excerpt(message: &str) -> String {
    let is_excerpt =
        |line: &str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    message.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsers_message_has_its_place_and_its_reason_and_not_the_line() {
        let message = "TOML parse error at line 2, column 5\n  |\n2 | \"hush\n  |     ^\ninvalid string\n";
        assert_eq!(without_excerpt(message), "TOML parse error at line 2, column 5: invalid string");
        assert_eq!(without_excerpt("must be `memory` or a path"), "must be `memory` or a path");
    }
}
