//! The languages the pages speak, and every word in them.
//!
//! Owns the choice of a language from the request and the two Fluent bundles compiled into
//! the program. Does not own layout or escaping: what [`Language::text`] returns is plain
//! text, and the templates escape it. Called by `page` and by the handlers that build a
//! [`super::branding::Frame`].

use std::cmp::Reverse;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use fluent_langneg::{NegotiationStrategy, negotiate_languages};
use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use unic_langid::LanguageIdentifier;

const ENGLISH_SOURCE: &str = include_str!("../../locales/en.ftl");
const KOREAN_SOURCE: &str = include_str!("../../locales/ko.ftl");

/// No browser sends more ranges than this; the rest of a longer header is not worth reading.
const MAX_RANGES: usize = 32;

type Bundle = FluentBundle<FluentResource>;

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::English));
static KOREAN: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::Korean));

/// A language the pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English, also the answer to every header that asks for something we do not speak.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Picks the language a request asks for (RFC 9110, 12.5.4).
    ///
    /// Several `Accept-Language` lines count as one list. Ranges that cannot be read are
    /// skipped; when nothing usable is left the answer is English. Never fails.
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let requested = requested_languages(headers);
        let available = Self::ALL.map(Self::identifier);
        let chosen = negotiate_languages(&requested, &available, None, NegotiationStrategy::Lookup);
        Self::ALL.into_iter().find(|language| chosen.first() == Some(&&language.identifier())).unwrap_or_default()
    }

    /// The language tag for the `lang` attribute and for `Content-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// The message `id`, which takes no variable.
    ///
    /// A message that is missing is a mistake of ours, found by the tests below; a running
    /// program falls back to English and then to the id itself rather than fail.
    pub fn text(self, id: &str) -> String {
        self.format(id, None)
    }

    /// The message `id` with its one variable `name` set to `value`; falls back like
    /// [`Language::text`]. The value is not escaped here.
    pub fn text_with(self, id: &str, name: &str, value: &str) -> String {
        let mut variables = FluentArgs::new();
        variables.set(name, value);
        self.format(id, Some(&variables))
    }

    /// The message `id` with its variable `count`, whose form follows the number; falls back like [`Language::text`].
    pub fn text_with_count(self, id: &str, count: i64) -> String {
        let mut variables = FluentArgs::new();
        variables.set("count", count);
        self.format(id, Some(&variables))
    }

    fn format(self, id: &str, variables: Option<&FluentArgs>) -> String {
        message(self.bundle(), id, variables)
            .or_else(|| message(&ENGLISH, id, variables))
            .unwrap_or_else(|| id.to_owned())
    }

    fn bundle(self) -> &'static Bundle {
        match self {
            Self::English => &ENGLISH,
            Self::Korean => &KOREAN,
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::English => ENGLISH_SOURCE,
            Self::Korean => KOREAN_SOURCE,
        }
    }

    fn identifier(self) -> LanguageIdentifier {
        // Both tags are well-formed, so the default ("und") is never taken.
        self.tag().parse().unwrap_or_default()
    }
}

fn bundle(language: Language) -> Bundle {
    // A file with a mistake still yields the messages that can be read; the tests refuse it.
    let resource = match FluentResource::try_new(language.source().to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    let mut bundle = Bundle::new_concurrent(vec![language.identifier()]);
    // The isolation marks would end up in titles and in copied references.
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(resource);
    bundle
}

fn message(bundle: &Bundle, id: &str, variables: Option<&FluentArgs>) -> Option<String> {
    let pattern = bundle.get_message(id)?.value()?;
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, variables, &mut errors);
    errors.is_empty().then(|| text.into_owned())
}

/// The languages asked for, best first; those with a weight of zero are left out.
fn requested_languages(headers: &HeaderMap) -> Vec<LanguageIdentifier> {
    let mut weighted: Vec<(&str, u16)> = headers
        .get_all(ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(weighted_range)
        .take(MAX_RANGES)
        .collect();
    // A stable sort: ranges of equal weight keep the order of the header.
    weighted.sort_by_key(|(_, weight)| Reverse(*weight));
    let named: Vec<&str> = weighted.iter().map(|(range, _)| *range).collect();
    weighted.iter().filter(|(_, weight)| *weight > 0).flat_map(|(range, _)| expanded(range, &named)).collect()
}

/// Reads `ko-KR;q=0.8` as a range and its weight in thousandths.
fn weighted_range(element: &str) -> Option<(&str, u16)> {
    let (range, parameter) = match element.split_once(';') {
        Some((range, parameter)) => (range.trim(), Some(parameter.trim())),
        None => (element.trim(), None),
    };
    let weight = match parameter {
        None => 1000,
        Some(parameter) => thousandths(parameter.strip_prefix(['q', 'Q'])?)?,
    };
    (!range.is_empty()).then_some((range, weight))
}

/// Reads `=0.8` as 800. The grammar allows no sign, no exponent and three digits.
fn thousandths(value: &str) -> Option<u16> {
    let number = value.trim_start().strip_prefix('=')?.trim_start();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !matches!(whole, "0" | "1") {
        return None;
    }
    let weight: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (weight <= 1000).then_some(weight)
}

/// A range as identifiers. `*` stands for every language of ours the header does not name.
fn expanded(range: &str, named: &[&str]) -> Vec<LanguageIdentifier> {
    if range != "*" {
        return range.parse().ok().into_iter().collect();
    }
    Language::ALL
        .into_iter()
        .filter(|language| !named.iter().any(|name| speaks(*language, name)))
        .map(Language::identifier)
        .collect()
}

fn speaks(language: Language, range: &str) -> bool {
    range.parse::<LanguageIdentifier>().is_ok_and(|named| named.language == language.identifier().language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::collections::{BTreeMap, BTreeSet};

    const TEMPLATES: [&str; 19] = [
        include_str!("../../templates/layout.html"),
        include_str!("../../templates/sign_in_chooser.html"),
        include_str!("../../templates/signed_out.html"),
        include_str!("../../templates/session_ended.html"),
        include_str!("../../templates/confirm_logout.html"),
        include_str!("../../templates/error.html"),
        include_str!("../../templates/signed_in.html"),
        include_str!("../../templates/sign_out_there.html"),
        include_str!("../../templates/too_many_sessions.html"),
        include_str!("page.rs"),
        include_str!("page/confirm_logout.rs"),
        include_str!("page/error.rs"),
        include_str!("page/moment.rs"),
        include_str!("page/session_ended.rs"),
        include_str!("page/sign_in_chooser.rs"),
        include_str!("page/sign_out_there.rs"),
        include_str!("page/signed_in.rs"),
        include_str!("page/signed_out.rs"),
        include_str!("page/too_many_sessions.rs"),
    ];

    fn negotiated(lines: &[&[u8]]) -> Language {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, HeaderValue::from_bytes(line).unwrap());
        }
        Language::negotiate(&headers)
    }

    /// Every message id of a file with the variables it uses, by a scan of its lines.
    fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in language.source().lines() {
            if line.starts_with(|first: char| first.is_ascii_lowercase()) {
                current = line.split_once(" =").unwrap().0.to_owned();
                assert!(found.insert(current.clone(), BTreeSet::new()).is_none());
            } else if line.starts_with('#') {
                continue;
            }
            for placeable in line.split("{ $").skip(1) {
                let name = placeable.split(' ').next().unwrap().to_owned();
                found.get_mut(&current).unwrap().insert(name);
            }
        }
        found
    }

    /// The string literals that directly follow `opening` in a text.
    fn literals<'a>(text: &'a str, opening: &str) -> Vec<&'a str> {
        let rest = text.split(opening).skip(1);
        rest.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn both_files_are_free_of_mistakes() {
        for language in Language::ALL {
            assert!(FluentResource::try_new(language.source().to_owned()).is_ok());
        }
    }

    #[test]
    fn both_files_hold_the_same_messages_with_the_same_variables() {
        assert_eq!(messages(Language::English), messages(Language::Korean));
    }

    #[test]
    fn every_message_formats_to_text_in_its_own_language() {
        for language in Language::ALL {
            for (id, variables) in messages(language) {
                let mut values = FluentArgs::new();
                for name in variables {
                    values.set(name, "value");
                }
                let text = message(language.bundle(), &id, Some(&values));
                assert!(text.is_some_and(|text| !text.is_empty()), "{id}");
            }
        }
    }

    #[test]
    fn every_message_the_pages_name_exists_with_the_variable_they_give_it() {
        let known = messages(Language::English);
        let mut seen = 0;
        for text in TEMPLATES {
            for id in literals(text, "text(\"") {
                assert!(known.get(id).is_some_and(BTreeSet::is_empty), "{id}");
                seen += 1;
            }
            for call in text.split("text_with(\"").skip(1) {
                let (id, rest) = call.split_once("\", \"").unwrap();
                let name = rest.split('"').next().unwrap();
                assert_eq!(known[id], BTreeSet::from([name.to_owned()]), "{id}");
                seen += 1;
            }
        }
        assert!(seen > 20, "the scan finds what it looks for");
    }

    #[test]
    fn a_missing_message_shows_its_id() {
        assert_eq!(Language::Korean.text("no-such-message"), "no-such-message");
    }

    #[test]
    fn a_variable_reaches_the_text_without_isolation_marks() {
        let text = Language::Korean.text_with("sign-in-with", "provider", "Contoso");
        assert!(text.contains("Contoso"));
        assert!(!text.contains('\u{2068}'));
    }

    #[test]
    fn the_header_decides_the_language() {
        use Language::{English, Korean};
        let table: [(&[&[u8]], Language); 24] = [
            (&[], English),
            (&[b""], English),
            (&[b"ko"], Korean),
            (&[b"KO-kr"], Korean),
            (&[b"ko-Kore-KR"], Korean),
            (&[b"ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7"], Korean),
            (&[b"en-US,en;q=0.9,ko;q=0.8"], English),
            (&[b"en;q=0.3, ko;q=0.8"], Korean),
            (&[b"en ; q=0.3 , ko ; q=0.31"], Korean),
            (&[b"en;q=0.5,ko;q=0.5"], English),
            (&[b"ko;q=0.5,en;q=0.5"], Korean),
            (&[b"fr, de;q=0.9, ko;q=0.1"], Korean),
            (&[b"fr", b"ko;q=0.2"], Korean),
            (&[b"\xff\xfe", b"ko"], Korean),
            (&[b"fr,de"], English),
            (&[b"kok"], English),
            (&[b"*"], English),
            (&[b"en;q=0, *"], Korean),
            (&[b"ko;q=0, *;q=0.5"], English),
            (&[b"ko;q=0"], English),
            (&[b"*;q=0.9, ko;q=0.1"], English),
            (&[b"ko;q=2, en;q=0.1"], English),
            (&[b"ko;q=-1;;;, ;q=1, ,,"], English),
            (&[b"ko;level=1"], English),
        ];
        for (lines, expected) in table {
            assert_eq!(negotiated(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_endless_header_is_read_only_at_its_beginning() {
        let line = format!("{}ko", "fr,".repeat(MAX_RANGES));
        assert_eq!(negotiated(&[line.as_bytes()]), Language::English);
    }
}
