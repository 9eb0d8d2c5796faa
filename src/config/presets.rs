//! Presets: the settings of well-known providers, laid under the operator's.
//!
//! A preset is a file of the very keys that `[idp.<name>]` has; whatever the operator writes goes before it. Values may
//! name others in braces (`{tenant}`): keys that the preset needs, that have a default, or that the section has anyway.
//! Under `together` stand keys that must not be written without another. `kind` chooses one and is `oidc` or `oauth2`
//! afterwards, so nothing else knows that there are presets.

use std::collections::BTreeSet;

use toml::{Table, Value};
use url::Url;

use super::reader::Reader;
use crate::address::is_safe_address;
use crate::idp::ANY_TENANT;

/// The presets by the `kind` that chooses them.
const PRESETS: [(&str, &str); 15] = [
    ("apple", include_str!("presets/apple.toml")),
    ("auth0", include_str!("presets/auth0.toml")),
    ("bitbucket", include_str!("presets/bitbucket.toml")),
    ("cognito", include_str!("presets/cognito.toml")),
    ("entra", include_str!("presets/entra.toml")),
    ("github", include_str!("presets/github.toml")),
    ("gitlab", include_str!("presets/gitlab.toml")),
    ("google", include_str!("presets/google.toml")),
    ("kakao", include_str!("presets/kakao.toml")),
    ("keycloak", include_str!("presets/keycloak.toml")),
    // The same service by its name elsewhere.
    ("line-works", include_str!("presets/naver-works.toml")),
    ("naver", include_str!("presets/naver.toml")),
    ("naver-works", include_str!("presets/naver-works.toml")),
    ("okta", include_str!("presets/okta.toml")),
    ("slack", include_str!("presets/slack.toml")),
];

/// Every `kind` that is a preset.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(kind, _)| *kind)
}

/// Lays the preset that `kind` names under a provider's section; other kinds are left as they are.
pub(super) fn lay_under(section: &mut Reader) {
    let kind = section.table().get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some((kind, file)) = PRESETS.iter().find(|(name, _)| *name == kind) else { return };
    let Ok(mut preset) = file.parse::<Table>() else {
        section.fault("kind", format!("the preset {kind} is broken"));
        return;
    };
    let (needs, defaults) = (taken(&mut preset, "needs"), taken(&mut preset, "defaults"));
    let (settings, together) = (taken(&mut preset, "settings"), taken(&mut preset, "together"));
    // Another installation: its tokens must not go to the well-known one's API.
    for (one, other) in together.iter().filter_map(|(one, other)| Some((one, other.as_str()?))) {
        if section.has(one) && !section.has(other) {
            section.fault(other, format!("is missing: with a {one} of its own the API has one too"));
        }
    }
    let mut filler =
        Filler { section, needs: &needs, defaults: &defaults, settings: &settings, missing: BTreeSet::new() };
    let mut whole = filler.fill(filler.section.table(), &settings);
    for name in std::mem::take(&mut filler.missing) {
        let what = needs.get(&name).and_then(Value::as_str).unwrap_or_default();
        section.fault(&name, format!("is missing: {what}"));
    }
    check_values(section, needs.keys().chain(defaults.keys()));
    let own = section.table_mut();
    own.retain(|name, _| settings.contains_key(name) || !(needs.contains_key(name) || defaults.contains_key(name)));
    own.remove("kind");
    merge(&mut whole, std::mem::take(own));
    *own = whole;
}

/// Puts values where the preset names them.
struct Filler<'a> {
    section: &'a Reader,
    needs: &'a Table,
    defaults: &'a Table,
    settings: &'a Table,
    missing: BTreeSet<String>,
}

impl Filler<'_> {
    /// The preset's settings without those that the operator wrote.
    fn fill(&mut self, own: &Table, settings: &Table) -> Table {
        let nothing = Table::new();
        let mut filled = Table::new();
        for (key, value) in settings {
            let value = match (own.get(key), value) {
                // The section's kind is the preset's name.
                (Some(_), Value::String(kind)) if key == "kind" => Value::String(kind.clone()),
                (Some(Value::Table(own)), Value::Table(below)) => Value::Table(self.fill(own, below)),
                (Some(_), _) => continue,
                (None, Value::Table(below)) => Value::Table(self.fill(&nothing, below)),
                (None, Value::Array(items)) => Value::Array(items.iter().map(|item| self.replaced(item)).collect()),
                (None, single) => self.replaced(single),
            };
            filled.insert(key.clone(), value);
        }
        filled
    }

    fn replaced(&mut self, value: &Value) -> Value {
        let Value::String(text) = value else { return value.clone() };
        let mut parts = text.split('{');
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            replaced.push_str(&self.value_of(name));
            replaced.push_str(rest);
        }
        Value::String(replaced)
    }

    fn value_of(&mut self, name: &str) -> String {
        // A needed name may be a setting's own, whose value is not to be had from itself.
        let settings = if self.needs.contains_key(name) { self.defaults } else { self.settings };
        let written = [self.section.table(), self.defaults, settings];
        let written = written.into_iter().find_map(|table| table.get(name)?.as_str());
        match written {
            // `api_base_url` ends as people like it.
            Some(address) if name.ends_with("_url") => address.trim_end_matches('/').to_owned(),
            Some(text) => text.to_owned(),
            // An application in several tenants: each token says which.
            None if name == "tenant" && self.section.has("tenants") => ANY_TENANT.to_owned(),
            None => {
                if self.needs.contains_key(name) {
                    self.missing.insert(name.to_owned());
                }
                // A placeholder that keeps the rest of the section readable; the fault is reported.
                if name.ends_with("_url") { "https://missing".to_owned() } else { "missing".to_owned() }
            }
        }
    }
}

/// Reports values that would change the meaning of the addresses they are put into.
fn check_values<'a>(section: &Reader, names: impl Iterator<Item = &'a String>) {
    let plain = |name: &str, text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (name == "hosted_domain" && text == "*") || (!text.is_empty() && text.bytes().all(is_plain))
    };
    for name in names {
        if !section.has(name) {
            continue;
        }
        let problem = match section.table().get(name) {
            None => continue,
            Some(Value::String(text)) if name.ends_with("_url") => match Url::parse(text) {
                Ok(url) if is_safe_address(&url) && url.query().is_none() && url.fragment().is_none() => continue,
                _ => "must be an https URL without query (http on loopback only)",
            },
            // Names of all tenants at once: whoever has an account at Microsoft could sign in.
            Some(Value::String(text))
                if name == "tenant" && ["common", "organizations", "consumers"].contains(&text.as_str()) =>
            {
                "names no tenant: give its ID, or those of several as `tenants`"
            }
            Some(Value::String(text)) if plain(name, text) => continue,
            Some(_) => "must be a text of letters, digits, `.`, `-` and `_`",
        };
        section.fault(name, problem);
    }
}

fn taken(preset: &mut Table, key: &str) -> Table {
    match preset.remove(key) {
        Some(Value::Table(table)) => table,
        _ => Table::new(),
    }
}

/// Lays one table over another.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
