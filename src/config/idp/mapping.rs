//! Where in the claims or the profile a person's attributes stand.

use crate::config::reader::Reader;
use crate::idp::profile::ProfileMapping;

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
        groups: section.or("groups", default.groups),
    }
}
