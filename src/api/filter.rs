//! The filter of sessions, as requests carry it.

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use time::Duration;
use utoipa::{IntoParams, ToSchema};

use crate::administration::durations;
use crate::session::browser::BrowserKind;
use crate::session::filter::{Filter, PersonFilter, parse_network};

/// The filter that selects sessions; everything that is given must fit. An unknown name is an error, not "everybody".
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FilterBody {
    /// Everybody, and nothing else is given. Only for revocations.
    pub(super) all: bool,
    /// Subject, user name or e-mail address, as a whole.
    user: Option<String>,
    /// The provider's issuer identifier.
    issuer: Option<String>,
    /// The provider's name for the person; together with `issuer` the fastest way to somebody's sessions.
    subject: Option<String>,
    /// The configured name of the provider.
    idp: Option<String>,
    /// A group they were in at the login.
    group: Option<String>,
    /// The address that the login came from, or its network in CIDR notation.
    #[serde(deserialize_with = "network")]
    #[schema(value_type = Option<String>, example = "192.0.2.0/24")]
    #[param(value_type = Option<String>)]
    ip: Option<IpNet>,
    /// The kind of browser that the login came from: a family, a system or both.
    #[schema(value_type = Option<String>, example = "Chrome on Windows")]
    #[param(value_type = Option<String>)]
    browser: Option<BrowserKind>,
    /// Established longer ago than this.
    #[serde(deserialize_with = "durations::option::deserialize")]
    #[schema(value_type = Option<String>, example = "12h")]
    #[param(value_type = Option<String>)]
    older_than: Option<Duration>,
    /// Last used longer ago than this.
    #[serde(deserialize_with = "durations::option::deserialize")]
    #[schema(value_type = Option<String>, example = "30m")]
    #[param(value_type = Option<String>)]
    idle_longer_than: Option<Duration>,
}

impl From<FilterBody> for Filter {
    fn from(body: FilterBody) -> Self {
        let FilterBody { all: _, user, issuer, subject, idp, group, ip, browser, older_than, idle_longer_than } = body;
        let person = PersonFilter { user, issuer, subject, idp, group, verified_email: None };
        Self { person, network: ip, browser, older_than, idle_longer_than, happened: None }
    }
}

fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNet>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_network(&text).map_err(D::Error::custom)).transpose()
}
