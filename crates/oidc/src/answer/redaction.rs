//! Removes secrets from text of other parties, and characters that are unsafe in a log or a terminal. Pure.

use std::collections::HashSet;

use counterfoil_core::printable::is_unprintable;
use url::form_urlencoded;

/// Shortest piece of a secret that is removed, in characters: some providers repeat its beginning alone.
const TELLING_PIECE: usize = 8;
/// Shortest secret that is looked for, in characters: a shorter one occurs in ordinary words by chance.
const SHORTEST_SECRET: usize = 4;
/// Text in a secret's place.
const REDACTED: &str = "[redacted]";

/// Replaces every piece of a secret, in any letter case, and also where it is form-encoded.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> String {
    let characters: Vec<char> = text.chars().collect();
    let lower: Vec<char> = characters.iter().map(char::to_ascii_lowercase).collect();
    let mut marked = vec![false; characters.len()];
    let mut mark = |secret: &str| {
        let secret: Vec<char> = secret.chars().map(|character| character.to_ascii_lowercase()).collect();
        if secret.len() < SHORTEST_SECRET {
            return;
        }
        let piece = secret.len().min(TELLING_PIECE);
        let pieces: HashSet<&[char]> = secret.windows(piece).collect();
        for (start, window) in lower.windows(piece).enumerate() {
            if pieces.contains(window) {
                marked[start..start + piece].fill(true);
            }
        }
    };
    for secret in secrets {
        mark(secret);
        mark(&form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>());
    }
    let mut clean = String::with_capacity(text.len());
    for (index, character) in characters.into_iter().enumerate() {
        match marked[index] {
            false => clean.push(character),
            true if index > 0 && marked[index - 1] => {}
            true => clean.push_str(REDACTED),
        }
    }
    clean
}

/// Makes a text that can neither break a line, nor colour a terminal, nor end its quotation.
pub(crate) fn harmless(text: &str) -> String {
    let one = |character: char| match character {
        '\r' | '\n' | '\t' => ' ',
        '"' => '\'',
        '\\' => '/',
        other if is_unprintable(other) => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    text.chars().map(one).collect()
}

/// Longest part of a foreign issuer that is repeated, in characters.
const LONGEST_NAMED: usize = 200;

/// Returns the part of a foreign issuer that is repeated.
pub(crate) fn beginning(named: &str) -> String {
    named.chars().take(LONGEST_NAMED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-O01: one line a case: what was sent, and what is left of it.
    #[test]
    fn a_reason_repeats_no_secret_that_was_sent() {
        let redacted = |text, secrets: &[&str]| redact(text, secrets);
        for (text, secret, left) in [
            ("code SplxlOBeZQQYbYS6WxSbIA is used", "SplxlOBeZQQYbYS6WxSbIA", "code [redacted] is used"),
            ("code SplxlOBeZ... is used", "SplxlOBeZQQYbYS6WxSbIA", "code [redacted]... is used"),
            ("...6WxSbIA", "SplxlOBeZQQYbYS6WxSbIA", "...6WxSbIA"),
            ("SPLXLOBEZQQ", "SplxlOBeZQQYbYS6WxSbIA", "[redacted]"),
            ("p%40ss%3Aw%25rd", "p@ss:w%rd", "[redacted]"),
            ("the word is tiny!", "tiny", "the word is [redacted]!"),
            ("an x is no secret", "x", "an x is no secret"),
            ("twice aaaaaaaaab aaaaaaaaab", "aaaaaaaaab", "twice [redacted] [redacted]"),
            ("비밀번호입니다 끝", "비밀번호입니다", "[redacted] 끝"),
        ] {
            assert_eq!(redacted(text, &[secret]), left, "{text}");
        }
    }
}
