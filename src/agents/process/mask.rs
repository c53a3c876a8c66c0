//! Secrets that an agent's program has from the environment. If it prints one, as a trace of a crash does, neither the log
//! nor the failure that its caller reads has it.

use std::sync::LazyLock;

/// Values of variables whose names say that they are secret; the longest first, as one may begin with another.
static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    secrets(variables)
});

/// The text with [`HIDDEN`] in place of each secret.
pub(super) fn hide(text: &str) -> String {
    hide_each(&SECRETS, text)
}

/// Bytes of the longest secret. What is about to be cut must be looked at that much further, or a piece is left.
pub(super) fn longest() -> usize {
    SECRETS.first().map_or(0, String::len)
}

fn secrets(variables: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let is_secret = |name: &str| WORDS.iter().any(|word| name.to_ascii_uppercase().contains(word));
    let mut found: Vec<String> = variables
        .filter(|(name, _)| is_secret(name))
        // A key of several lines is printed line by line.
        .flat_map(|(_, value)| value.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>())
        .filter(|line| (SHORTEST..=LONGEST).contains(&line.len()))
        .collect();
    found.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    found.dedup();
    found
}

fn hide_each(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| match text.contains(&**secret) {
        true => text.replace(&**secret, HIDDEN),
        false => text,
    })
}

/// What names of secret variables have in them.
const WORDS: &[&str] =
    &["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "AUTHORIZATION", "HEADERS"];
/// A shorter value is more likely a word that stands elsewhere too.
const SHORTEST: usize = 8;
/// A longer one is no secret that is printed on a line.
const LONGEST: usize = 8 << 10;
const HIDDEN: &str = "[secret]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_variables_are_hidden_and_others_stay() {
        let found = secrets(
            [
                ("OPENAI_API_KEY", "sk-0123456789"),
                ("OTHER_KEY", "sk-0123456789-longer"),
                ("db_password", "hunter2hunter2"),
                ("PEM_SECRET", "-----BEGIN-----\n0123456789abcdef\nshort\n"),
                ("PATH", "/usr/bin:/usr/local"),
                ("KEYBOARD", "us"),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let said = "sk-0123456789-longer, sk-0123456789, hunter2hunter2; /usr/bin:/usr/local us\n0123456789abcdef short";
        let shown = hide_each(&found, said);
        assert_eq!(shown, "[secret], [secret], [secret]; /usr/bin:/usr/local us\n[secret] short");
    }
}
