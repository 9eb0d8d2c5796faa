//! Kinds of browsers, as a `User-Agent` names them: for people who look at sessions, and proof of nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The families of browsers, and the part of a `User-Agent` that tells each: the first that fits counts, since most
/// name others as well. The place in this table is part of what lies in the store: new ones stand at the end of it.
const FAMILIES: [(&str, &[&str]); 11] = [
    ("Edge", &["Edg/", "EdgA/", "EdgiOS/"]),
    ("Opera", &["OPR/", "Opera"]),
    ("Samsung Internet", &["SamsungBrowser/"]),
    ("Whale", &["Whale/"]),
    ("KakaoTalk", &["KAKAOTALK"]),
    ("Firefox", &["Firefox/", "FxiOS/"]),
    ("Chrome", &["Chrome/", "CriOS/", "Chromium/"]),
    ("Safari", &["Safari/"]),
    ("curl", &["curl/"]),
    ("Python", &["python-requests/", "Python-urllib/", "aiohttp/", "python-httpx/"]),
    ("Go", &["Go-http-client/"]),
];

/// The same of systems.
const SYSTEMS: [(&str, &[&str]); 7] = [
    ("iPhone", &["iPhone"]),
    ("iPad", &["iPad"]),
    ("Android", &["Android"]),
    ("ChromeOS", &["CrOS"]),
    ("Windows", &["Windows"]),
    ("macOS", &["Macintosh"]),
    ("Linux", &["Linux"]),
];

/// Any other.
const OTHER: u8 = 0;

/// A kind of browser, or of several: the family, the system, or both.
///
/// It is written and read as "Chrome on Windows", "Chrome" or "Windows".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BrowserKind {
    /// The place in the table of families, from 1.
    family: u8,
    /// The place in the table of systems, from 1.
    system: u8,
}

/// A text that names no kind of browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must name a kind of browser, such as \"Chrome on Windows\", \"Firefox\" or \"Android\"")]
pub struct UnknownBrowser;

impl BrowserKind {
    /// Reads the kind out of a `User-Agent`.
    pub fn of(user_agent: &str) -> Self {
        let place = |table: &[(&str, &[&str])]| {
            table.iter().position(|(_, signs)| signs.iter().any(|sign| user_agent.contains(sign)))
        };
        Self { family: number(place(&FAMILIES)), system: number(place(&SYSTEMS)) }
    }

    /// Is true if a browser is of this kind.
    pub fn fits(self, browser: Self) -> bool {
        let is = |wanted: u8, found: u8| wanted == OTHER || wanted == found;
        is(self.family, browser.family) && is(self.system, browser.system)
    }

    /// The kind in one byte.
    pub(crate) fn byte(self) -> u8 {
        self.family << 4 | self.system
    }

    /// The kind of such a byte.
    pub(crate) fn of_byte(byte: u8) -> Self {
        Self { family: byte >> 4, system: byte & 0x0f }
    }
}

fn number(place: Option<usize>) -> u8 {
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(OTHER)
}

fn name(table: &[(&'static str, &[&str])], number: u8) -> Option<&'static str> {
    table.get(usize::from(number).checked_sub(1)?).map(|(name, _)| *name)
}

impl fmt::Display for BrowserKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (name(&FAMILIES, self.family), name(&SYSTEMS, self.system)) {
            (Some(family), Some(system)) => write!(formatter, "{family} on {system}"),
            (Some(one), None) | (None, Some(one)) => formatter.write_str(one),
            (None, None) => formatter.write_str("another browser"),
        }
    }
}

impl FromStr for BrowserKind {
    type Err = UnknownBrowser;

    fn from_str(text: &str) -> Result<Self, UnknownBrowser> {
        let place = |table: &[(&str, &[&str])], wanted: &str| {
            number(table.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted.trim())))
        };
        let lower = text.to_ascii_lowercase();
        let kind = match lower.split_once(" on ") {
            Some((family, system)) => {
                let kind = Self { family: place(&FAMILIES, family), system: place(&SYSTEMS, system) };
                (kind.family != OTHER && kind.system != OTHER).then_some(kind)
            }
            None => Some(Self { family: place(&FAMILIES, text), system: place(&SYSTEMS, text) }),
        };
        kind.filter(|kind| kind.byte() != 0).ok_or(UnknownBrowser)
    }
}

impl TryFrom<String> for BrowserKind {
    type Error = UnknownBrowser;

    fn try_from(text: String) -> Result<Self, UnknownBrowser> {
        text.parse()
    }
}

impl From<BrowserKind> for String {
    fn from(kind: BrowserKind) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_tells_the_family_and_the_system() {
        for (user_agent, kind) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:133.0) Gecko/20100101 Firefox/133.0",
                "Firefox on macOS",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S921N) AppleWebKit/537.36 SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
                "Chrome on ChromeOS",
            ),
            ("curl/8.5.0", "curl"),
            ("Mozilla/5.0 (X11; Linux x86_64) something of its own", "Linux"),
            ("", "another browser"),
        ] {
            assert_eq!(BrowserKind::of(user_agent).to_string(), kind, "{user_agent}");
        }
    }

    #[test]
    fn kinds_are_read_as_they_are_written_and_fit_what_they_leave_open() {
        let kind = |text: &str| text.parse::<BrowserKind>();
        let windows = kind("chrome ON windows").unwrap();
        assert_eq!(windows.to_string(), "Chrome on Windows");
        assert_eq!(BrowserKind::of_byte(windows.byte()), windows);
        for (wanted, fits) in [
            ("Chrome on Windows", true),
            ("chrome", true),
            ("Windows", true),
            ("Firefox", false),
            ("Chrome on macOS", false),
            ("Android", false),
        ] {
            assert_eq!(kind(wanted).unwrap().fits(windows), fits, "{wanted}");
        }
        for wrong in ["", "another browser", "Netscape", "Chrome on", "Chrome on Amiga", "Netscape on Windows"] {
            assert_eq!(kind(wrong), Err(UnknownBrowser), "{wrong}");
        }
        assert!(FAMILIES.len() < 16 && SYSTEMS.len() < 16, "each has half a byte");
    }
}
