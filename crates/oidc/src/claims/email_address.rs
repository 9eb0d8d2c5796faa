//! The syntax of e-mail addresses (RFC 5321 4.1.2), so that a rule for a domain matches addresses only.
//!
//! Pure. No library is used: the maintained ones read RFC 5322 (comments, display names, quoted spaces), which accepts
//! more than an account's address has. Quoted local parts and address literals are refused: RFC 5321 4.1.2 tells hosts
//! to avoid the former, and no company's domain is the latter. Letters beyond ASCII are those of RFC 6531 3.3.

/// Longest local part, domain and address, in bytes (RFC 5321 4.5.3.1).
const LONGEST: (usize, usize, usize) = (64, 255, 254);

/// Is true if a text is one address: `Dot-string "@" Domain`.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let (longest_local, longest_domain, longest) = LONGEST;
    let fits = local.len() <= longest_local && domain.len() <= longest_domain && text.len() <= longest;
    fits && local.split('.').all(is_atom) && domain.split('.').all(is_label)
}

/// Is true of an `Atom` (RFC 5321 4.1.2, RFC 5322 3.2.3).
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|one| one.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(one) || is_foreign(one))
}

/// Is true of a `sub-domain`: letters, digits and inner hyphens.
fn is_label(text: &str) -> bool {
    let is_inner = |one: char| one.is_ascii_alphanumeric() || one == '-' || is_foreign(one);
    !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-') && text.chars().all(is_inner)
}

/// Is true of letters and digits beyond ASCII and the marks that belong to them; never of invisible characters.
fn is_foreign(one: char) -> bool {
    !one.is_ascii() && one.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-I08: one line a case. Found by putting before, into and behind an address what mail programs, links and
    /// directories write there.
    #[test]
    fn what_is_no_address_is_none() {
        for address in [
            "alice@example.com",
            "alice.kim+back-office@mail.example.com",
            "o'brien@example.com",
            "a@b",
            "x/y=z@example.com",
            "김민수@예시.한국",
            "alice@xn--9n2bp8q.com",
            "1@1.2",
        ] {
            assert!(is_address(address), "{address}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}.com", "b".repeat(64));
        for address in [
            "mailto:x@example.com",
            "smtp:x@example.com",
            "SMTP:x@example.com",
            "<x@example.com>",
            "Alice <x@example.com>",
            "x@example.com ",
            " x@example.com",
            "x@example.com,y@example.com",
            "x@example.com;y@other.example",
            "x,y@example.com",
            "x@example.com.",
            "x@.example.com",
            "x@example..com",
            ".x@example.com",
            "x.@example.com",
            "x..y@example.com",
            "x@-example.com",
            "x@example-.com",
            "x@exa_mple.com",
            "x@example.com/path",
            "x@example.com:25",
            "x@[127.0.0.1]",
            "\"x y\"@example.com",
            "\"x@evil.example\"@example.com",
            "x(comment)@example.com",
            "x\\@example.com",
            "a@b@example.com",
            "x@example.com\n",
            "x@exa\u{0}mple.com",
            "x\u{202e}@example.com",
            "x@example\u{3002}com",
            "x\u{200b}@example.com",
            "x\u{a0}@example.com",
            "@example.com",
            "x@",
            "x",
            "",
            &long,
            &long_domain,
        ] {
            assert!(!is_address(address), "{address:?}");
        }
    }
}
