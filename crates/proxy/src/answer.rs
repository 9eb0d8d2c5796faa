//! Checks the head of an upstream's answer: one whose framing is ambiguous becomes 502 (response splitting,
//! desynchronisation).
//!
//! Pure functions over heads. Our own framing is written anew, but an answer with two different lengths may be an
//! attack on another reader (RFC 9112 6.3), and an unsolicited answer is not passed on (RFC 9110 15.2.2).

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};
use thiserror::Error;

/// Largest head of an answer, names and values together, in bytes. The limit is on their sum, not on each field.
pub(crate) const LARGEST_HEAD: usize = 64 * 1024;
/// Most fields of a head: five times as many as other proxies take. Room for them, 64 bytes each, is made before every head
/// is read, and the time that takes was measured: none for 512, 100 µs for 4,096, whose memory goes back to the system each
/// time.
pub(crate) const MOST_FIELDS: usize = 512;

/// The reason that an answer is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UntrustedAnswer {
    /// A status that HTTP does not have (RFC 9110 15).
    #[error("the upstream answers with the status {0}, which is none")]
    Status(u16),
    /// 101 to a request that asked for no upgrade.
    #[error("the upstream switches to another protocol without having been asked")]
    Unasked,
    /// 101 for another protocol than the one that was asked for, or without naming one.
    #[error("the upstream switches to another protocol than it was asked for")]
    OtherProtocol,
    /// The answer to a WebSocket handshake does not prove that it is one (RFC 6455 4.2.2).
    #[error("the upstream's Sec-WebSocket-Accept does not fit the handshake's key")]
    Unproven,
    /// `Content-Length` beside `Transfer-Encoding`.
    #[error(
        "the upstream says both how long its answer is and that it does not know (Content-Length and Transfer-Encoding)"
    )]
    TwoFramings,
    /// No number, or two.
    #[error("the upstream's Content-Length is not one number")]
    Length,
    /// Anything but `chunked`, once.
    #[error("the upstream's Transfer-Encoding is not one `chunked`")]
    Coding,
    /// Content after a status that has none.
    #[error("the upstream sends content with the status {0}, which has none")]
    Content(u16),
    /// More than [`LARGEST_HEAD`].
    #[error("the head of the upstream's answer is larger than {LARGEST_HEAD} bytes")]
    TooLarge,
}

/// Checks an answer's head, and leaves in it one `Content-Length` at most, in its one spelling.
///
/// # Errors
/// [`UntrustedAnswer`].
pub(crate) fn check(head: &mut Parts) -> Result<(), UntrustedAnswer> {
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UntrustedAnswer::Unasked);
    }
    if !(200..600).contains(&status.as_u16()) {
        return Err(UntrustedAnswer::Status(status.as_u16()));
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if head.headers.iter().map(size).sum::<usize>() > LARGEST_HEAD {
        return Err(UntrustedAnswer::TooLarge);
    }
    let is_chunked = is_chunked(&head.headers, head.version)?;
    let length = length(&head.headers)?;
    if is_chunked && length.is_some() {
        return Err(UntrustedAnswer::TwoFramings);
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) && length.is_some_and(|length| length > 0) {
        return Err(UntrustedAnswer::Content(status.as_u16()));
    }
    // A 204 says no length at all (RFC 9110 8.6).
    match length.filter(|_| status != StatusCode::NO_CONTENT) {
        Some(_) if is_in_its_one_spelling(&head.headers) => {}
        Some(length) => _ = head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => _ = head.headers.remove(CONTENT_LENGTH),
    }
    Ok(())
}

/// Is true if more bytes than the answer has may follow it, so that its connection must not be used again: a status
/// without content beside the word that there is some (RFC 9112 6.3, rule 1).
pub(crate) fn may_be_followed(head: &Parts) -> bool {
    matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && head.headers.contains_key(TRANSFER_ENCODING)
}

/// Is true if the one `Content-Length` there is holds digits alone, and no zero in front of others.
fn is_in_its_one_spelling(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let is_plain = |length: &[u8]| {
        length.iter().all(u8::is_ascii_digit)
            && (length.len() == 1 || length.first().is_some_and(|digit| *digit != b'0'))
    };
    lengths.next().is_some_and(is_plain) && lengths.next().is_none()
}

fn is_chunked(headers: &HeaderMap, version: Version) -> Result<bool, UntrustedAnswer> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    // HTTP/1.0 does not know it (RFC 9112 6.1).
    (is_chunked && codings.next().is_none() && version == Version::HTTP_11)
        .then_some(true)
        .ok_or(UntrustedAnswer::Coding)
}

/// The length that is announced; the same number twice is one (RFC 9110 8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, UntrustedAnswer> {
    let mut length = None;
    let numbers = headers.get_all(CONTENT_LENGTH).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    for number in numbers {
        let digits = std::str::from_utf8(number.trim_ascii()).unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| is_number).ok_or(UntrustedAnswer::Length)?;
        if length.is_some_and(|known| known != number) {
            return Err(UntrustedAnswer::Length);
        }
        length = Some(number);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: u16, lines: &[(&str, &str)]) -> Result<Parts, UntrustedAnswer> {
        let mut head = http::Response::builder().status(status).body(()).unwrap().into_parts().0;
        for (name, value) in lines {
            head.headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        check(&mut head).map(|()| head)
    }

    /// One line a case. Seen were both framings at once, an unasked 101, 999, and a 205 with content; the others were found in
    /// RFC 9112 6.1 to 6.3 and RFC 9110 8.6, rule by rule.
    #[test]
    fn an_answer_that_can_be_cut_in_two_ways_is_not_passed_on() {
        use UntrustedAnswer::{Coding, Content, Length, Status, TooLarge, TwoFramings, Unasked};
        const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
        let length = |value| ("content-length", value);
        let coding = |value| ("transfer-encoding", value);
        let large = "x".repeat(LARGEST_HEAD);
        for (status, lines, fault) in [
            (200, &[length("3"), CHUNKED][..], TwoFramings),
            (304, &[length("3"), CHUNKED], TwoFramings),
            (101, &[("upgrade", "websocket"), ("connection", "upgrade")], Unasked),
            (999, &[], Status(999)),
            (600, &[], Status(600)),
            (205, &[length("5")], Content(205)),
            (204, &[length("5")], Content(204)),
            (200, &[length("3"), length("4")], Length),
            (200, &[length("3, 4")], Length),
            (200, &[length("+3")], Length),
            (200, &[length("0x3")], Length),
            (200, &[length("")], Length),
            (200, &[length("-1")], Length),
            (200, &[length("3 3")], Length),
            (200, &[length("18446744073709551616")], Length),
            (304, &[length("three")], Length),
            (200, &[coding("gzip, chunked")], Coding),
            (200, &[coding("chunked, gzip")], Coding),
            (200, &[coding("identity")], Coding),
            (200, &[CHUNKED, CHUNKED], Coding),
            (200, &[coding("xchunked")], Coding),
            (200, &[coding("chunked;q=1")], Coding),
            (200, &[("x-large", &large)], TooLarge),
        ] {
            assert_eq!(checked(status, lines).err(), Some(fault), "{status} {lines:?}");
        }
    }

    #[test]
    fn an_answer_that_says_one_thing_goes_on_with_one_length() {
        let length = |value| ("content-length", value);
        for (status, lines, expected) in [
            (200, &[length("3")][..], Some("3")),
            (200, &[length("3"), length("3")], Some("3")),
            (200, &[length("3, 3")], Some("3")),
            (200, &[length("003")], Some("3")),
            (200, &[("transfer-encoding", "Chunked")], None),
            (200, &[], None),
            (204, &[length("0")], None),
            (205, &[length("0")], Some("0")),
            (304, &[length("3")], Some("3")),
            (599, &[], None),
        ] {
            let head = checked(status, lines).unwrap();
            let left: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(left, expected.into_iter().collect::<Vec<_>>(), "{status} {lines:?}");
        }
        let many: Vec<_> = (0..MOST_FIELDS).map(|number| (format!("x-{number:x}"), "1")).collect();
        let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert!(checked(200, &many).is_ok(), "the check counts bytes, the parser fields");
    }

    #[test]
    fn a_connection_on_which_more_may_come_is_not_used_again() {
        let chunked = [("transfer-encoding", "chunked")];
        for (status, lines, expected) in
            [(204, &chunked[..], true), (304, &chunked, true), (200, &chunked, false), (204, &[], false)]
        {
            assert_eq!(may_be_followed(&checked(status, lines).unwrap()), expected, "{status}");
        }
    }
}
