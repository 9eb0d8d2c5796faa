//! The settings in `[idp.<name>]` for authorization requests.

use std::time::Duration as StdDuration;

use crate::config::reader::Reader;
use crate::idp::{Prompt, RequestSettings, ResponseMode, is_reserved};

/// Parameters of authorization requests that are set by a key beside `authorization_parameters`.
const OWN_KEYS: [(&str, &str); 6] = [
    ("acr_values", "acr_values"),
    ("max_age", "max_age"),
    ("prompt", "prompt"),
    ("response_mode", "response_mode"),
    ("scope", "scopes"),
    ("ui_locales", "ui_locales"),
];

/// Reads them. `is_oidc`: true if the provider speaks OpenID Connect; `is_https`: true if browsers reach us by HTTPS.
pub(super) fn read(section: &mut Reader, is_oidc: bool, is_https: bool) -> RequestSettings {
    let max_age = section.optional::<StdDuration>("max_age").map(|age| age.as_secs());
    let acr_values = read_acr(section, "acr_values");
    if !is_oidc {
        for key in ["max_age", "acr_values"] {
            if (key == "max_age" && max_age.is_some()) || (key == "acr_values" && !acr_values.is_empty()) {
                section.fault(key, "can be asked of OpenID Connect providers only");
            }
        }
    }
    RequestSettings {
        extra: read_extra(section),
        prompt: read_prompt(section),
        max_age,
        acr_values,
        ui_locales: section.or("ui_locales", false),
        response_mode: read_response_mode(section, is_oidc, is_https),
    }
}

/// Ways to authenticate. They are sent in one parameter, separated by spaces.
pub(in crate::config) fn read_acr(section: &mut Reader, key: &str) -> Vec<String> {
    let Some(values) = section.optional::<Vec<String>>(key) else { return Vec::new() };
    let is_one = |value: &String| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    if values.is_empty() || !values.iter().all(is_one) {
        section.fault(key, "must be names without spaces, and not empty: leave it out if any will do");
    }
    values
}

fn read_extra(section: &mut Reader) -> Vec<(String, String)> {
    let names = section.names_in("authorization_parameters");
    let mut table = section.section("authorization_parameters");
    let mut extra = Vec::new();
    for name in names {
        let Some(value) = table.optional::<String>(&name) else { continue };
        if let Some((_, key)) = OWN_KEYS.iter().find(|(own, _)| *own == name) {
            table.fault(&name, format!("is set by a key of its own beside this table: {key}"));
        } else if is_reserved(&name) {
            table.fault(&name, "is the broker's own to set");
        } else if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            table.fault(&name, "is no name of a parameter");
        }
        extra.push((name, value));
    }
    extra
}

fn read_prompt(section: &mut Reader) -> Vec<Prompt> {
    let Some(text) = section.optional::<String>("prompt") else { return Vec::new() };
    let find = |word: &str| Prompt::ALL.into_iter().find(|prompt| prompt.name() == word);
    let prompts: Option<Vec<_>> = text.split_ascii_whitespace().map(find).collect();
    prompts.filter(|prompts| !prompts.is_empty()).unwrap_or_else(|| {
        section.fault("prompt", "must be login, consent, select_account, or several of them separated by spaces");
        Vec::new()
    })
}

fn read_response_mode(section: &mut Reader, is_oidc: bool, is_https: bool) -> Option<ResponseMode> {
    let name = section.optional::<String>("response_mode")?;
    let mode = ResponseMode::ALL.into_iter().find(|mode| mode.name() == name);
    match mode {
        None => section.fault("response_mode", format!("must be one of {}", ResponseMode::ALL.map(ResponseMode::name).join(", "))),
        Some(mode) if mode.is_posted() && !is_https => section.fault(
            "response_mode",
            "must not be a form over http: browsers send cookies along with another site's form only if they are Secure",
        ),
        Some(mode) if mode.is_signed() && !is_oidc => {
            section.fault("response_mode", "can be signed by OpenID Connect providers only: others publish no keys");
        }
        Some(_) => {}
    }
    mode
}
