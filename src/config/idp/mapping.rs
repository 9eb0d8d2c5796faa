//! The places of a person's attributes in the claims or the profile, and the values these must have.

use url::Url;

use crate::address::is_safe_address;
use crate::config::reader::Reader;
use crate::idp::{GroupsAs, ProfileApi, ProfileApiKind, ProfileMapping, RequiredClaim};

pub(super) fn read(section: &mut Reader, is_oidc: bool) -> ProfileMapping {
    let default = ProfileMapping::default();
    if is_oidc && section.has("subject") {
        section.fault("subject", "must not be set: with OpenID Connect the subject is always `sub`");
    }
    let subject = if is_oidc {
        section.optional("subject").unwrap_or(default.subject)
    } else {
        section.required("subject").unwrap_or_default()
    };
    ProfileMapping {
        subject,
        name: section.or("name", default.name),
        preferred_username: section.or("preferred_username", default.preferred_username),
        email: section.or("email", default.email),
        email_verified: section.or("email_verified", default.email_verified),
        email_verified_as_text: section.or("email_verified_as_text", default.email_verified_as_text),
        groups: section.or("groups", default.groups),
        groups_as: read_groups_as(section),
    }
}

fn read_groups_as(section: &mut Reader) -> GroupsAs {
    match section.optional::<String>("groups_as").as_deref() {
        None | Some("values") => GroupsAs::Values,
        Some("keys") => GroupsAs::Keys,
        Some("json") => GroupsAs::Json,
        Some(_) => {
            section.fault("groups_as", "must be \"values\", \"keys\" or \"json\"");
            GroupsAs::default()
        }
    }
}

/// The claims that the provider must make of everybody who signs in, by path.
pub(super) fn read_required_claims(section: &mut Reader) -> Vec<RequiredClaim> {
    let paths: Vec<_> = section.table().keys().cloned().collect();
    let claims = paths.into_iter().filter_map(|path| {
        let one_of = section.optional::<Vec<String>>(&path)?;
        if one_of.is_empty() || one_of.iter().any(String::is_empty) {
            section.fault(&path, "must name what the claim may say");
        }
        Some(RequiredClaim { path, one_of })
    });
    claims.collect()
}

/// The provider's own API that has to be asked too.
pub(super) fn read_profile_api(section: &mut Reader) -> Option<ProfileApi> {
    let kind = match section.optional::<String>("profile_api")?.as_str() {
        "github" => Some(ProfileApiKind::GitHub),
        "bitbucket" => Some(ProfileApiKind::Bitbucket),
        "microsoft-graph" => Some(ProfileApiKind::MicrosoftGraph),
        _ => {
            section.fault("profile_api", "must be \"github\", \"bitbucket\" or \"microsoft-graph\"");
            None
        }
    };
    let base_url = section.checked("api_base_url", |url: &Url| {
        let is_fit = is_safe_address(url) && url.query().is_none() && url.fragment().is_none();
        if is_fit { Ok(url.clone()) } else { Err("must be https without query (http on loopback only)") }
    });
    Some(ProfileApi { kind: kind?, base_url: base_url? })
}
