//! The elements that every page of the broker has in common: the operator's name for the service, whom to ask, and the
//! language.
//!
//! Used by `page`, and by `config` which reads it.

use super::language::Language;

/// The operator's words about the service.
#[derive(Debug, Clone)]
pub struct Branding {
    /// The name people know the service by.
    pub product_name: String,
    /// An address, an `https://` link or any other text that tells people where to get help.
    pub support_contact: Option<String>,
}

impl Default for Branding {
    fn default() -> Self {
        Self { product_name: "Back office".to_owned(), support_contact: None }
    }
}

impl Branding {
    pub(super) fn contact(&self) -> Option<Contact<'_>> {
        self.support_contact.as_deref().map(Contact::new)
    }
}

/// A support contact as the pages show it.
pub(super) struct Contact<'a> {
    pub(super) text: &'a str,
    pub(super) href: Option<String>,
}

impl<'a> Contact<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let href = if text.starts_with("https://") {
            Some(text.to_owned())
        } else {
            is_mail_address(text).then(|| format!("mailto:{text}"))
        };
        Self { text, href }
    }
}

/// Accepts only what needs no encoding in a `mailto:` link, and so cannot add fields to it.
fn is_mail_address(text: &str) -> bool {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed)
    };
    text.split_once('@').is_some_and(|(name, host)| plain(name) && plain(host))
}

/// The elements that every page has in common.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The language of the page.
    pub language: Language,
    /// The name and the contact it shows.
    pub branding: &'a Branding,
}

impl<'a> Frame<'a> {
    /// The frame of a page for whoever sent these headers.
    pub fn for_request(headers: &http::HeaderMap, branding: &'a Branding) -> Self {
        Self { language: Language::negotiate(headers), branding }
    }

    pub(super) fn title(&self, heading: &str) -> String {
        // Two variables, so not `text_with`; the form is the same in every language.
        format!("{heading} · {}", self.branding.product_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_support_contact_becomes_a_link_only_when_it_is_surely_one() {
        let table = [
            ("help@contoso.com", Some("mailto:help@contoso.com")),
            ("https://help.contoso.com/x", Some("https://help.contoso.com/x")),
            ("http://help.contoso.com", None),
            ("javascript:alert(1)//@x", None),
            ("mailto:help@contoso.com", None),
            ("help@contoso.com?bcc=a@b.c", None),
            ("help@@contoso.com", None),
            ("@", None),
            ("extension 1234", None),
        ];
        for (text, href) in table {
            assert_eq!(Contact::new(text).href.as_deref(), href, "{text}");
        }
    }
}
