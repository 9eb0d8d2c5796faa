//! The stylesheet and the logo, compiled into the program.
//!
//! Owns their bytes, media types, entity tags and the addresses the pages link to. Does not
//! own routing or cache headers: the handler of `/sso/assets/{name}` does. The address holds a
//! digest of the content, so an answer may be cached for ever. Called by that handler and by
//! `page`.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

const STYLESHEET: &str = "counterfoil.css";
const LOGO: &str = "counterfoil.svg";

/// The length of the piece of the digest that an address carries: enough to tell two releases apart.
const VERSION_LENGTH: usize = 8;

static STYLESHEET_ASSET: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_bytes!("../../static/counterfoil.css");
    Asset::new("text/css; charset=utf-8", body)
});
static LOGO_ASSET: LazyLock<Asset> = LazyLock::new(|| {
    let body = include_bytes!("../../static/counterfoil.svg");
    Asset::new("image/svg+xml", body)
});
static STYLESHEET_HREF: LazyLock<String> = LazyLock::new(|| href(STYLESHEET, &STYLESHEET_ASSET));
static LOGO_HREF: LazyLock<String> = LazyLock::new(|| href(LOGO, &LOGO_ASSET));

/// A file the pages need.
#[derive(Debug)]
pub struct Asset {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The file's content.
    pub body: &'static [u8],
    /// A strong entity tag for `ETag`, quotes included.
    pub etag: String,
}

impl Asset {
    fn new(content_type: &'static str, body: &'static [u8]) -> Self {
        let etag = format!("\"{}\"", hexadecimal(digest(&SHA256, body).as_ref()));
        Self { content_type, body, etag }
    }
}

/// The file called `name`; `None` for every name but the two that exist.
pub fn asset(name: &str) -> Option<&'static Asset> {
    match name {
        STYLESHEET => Some(&STYLESHEET_ASSET),
        LOGO => Some(&LOGO_ASSET),
        _ => None,
    }
}

/// The address of the stylesheet, which changes whenever its content does.
pub fn stylesheet_href() -> &'static str {
    &STYLESHEET_HREF
}

/// The address of the logo, which changes whenever its content does.
pub fn logo_href() -> &'static str {
    &LOGO_HREF
}

fn href(name: &str, asset: &Asset) -> String {
    let version: String = asset.etag.chars().skip(1).take(VERSION_LENGTH).collect();
    format!("/sso/assets/{name}?v={version}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> &'static str {
        std::str::from_utf8(asset(name).unwrap().body).unwrap()
    }

    #[test]
    fn only_the_two_known_names_are_served() {
        assert_eq!(asset(STYLESHEET).unwrap().content_type, "text/css; charset=utf-8");
        assert_eq!(asset(LOGO).unwrap().content_type, "image/svg+xml");
        for name in ["", "/", "../Cargo.toml", "counterfoil", "COUNTERFOIL.CSS"] {
            assert!(asset(name).is_none(), "{name}");
        }
    }

    #[test]
    fn an_address_carries_the_first_eight_digits_of_the_digest() {
        for (href, name) in [(stylesheet_href(), STYLESHEET), (logo_href(), LOGO)] {
            let (path, version) = href.split_once("?v=").unwrap();
            assert_eq!(path, format!("/sso/assets/{name}"));
            assert_eq!(version.len(), VERSION_LENGTH);
            assert!(asset(name).unwrap().etag[1..].starts_with(version));
        }
    }

    #[test]
    fn an_entity_tag_is_a_quoted_digest() {
        let etag = &asset(LOGO).unwrap().etag;
        assert_eq!(etag.len(), 66);
        assert!(etag.starts_with('"') && etag.ends_with('"'));
    }

    #[test]
    fn a_digest_is_written_in_lower_case_with_leading_zeros() {
        assert_eq!(hexadecimal(&[0x00, 0x0a, 0xff]), "000aff");
    }

    #[test]
    fn the_stylesheet_loads_nothing_from_anywhere() {
        let stylesheet = text(STYLESHEET);
        assert!(!stylesheet.contains("url("));
        assert!(!stylesheet.contains("@import"));
    }

    #[test]
    fn the_logo_needs_no_style_no_script_and_nothing_from_outside() {
        let logo = text(LOGO).replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for forbidden in ["<style", "style=", "<script", "href", "://", "url("] {
            assert!(!logo.contains(forbidden), "{forbidden}");
        }
    }
}
