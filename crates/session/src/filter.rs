//! Filters of sessions and logins: whether one fits is a pure decision.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use counterfoil_core::identity::Identity;
use counterfoil_core::unix_millis::whole_milliseconds;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::browser::BrowserKind;
use super::cut_off::LONGEST_LOGIN;
use super::record::SessionRecord;

/// Reads an address, or a network in CIDR notation (RFC 4632), of which the bits behind the prefix are dropped.
///
/// # Errors
/// The explanation for whoever wrote it.
pub fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be an address such as 192.0.2.7 or 2001:db8::7, or a network such as 192.0.2.0/24")?;
    let holds_mapped = network.prefix_len() < MAPPED_BITS && network.contains(&IpAddr::V6(MAPPED));
    if holds_mapped {
        return Err("is a network of IPv6 that IPv4 addresses lie in, too: say 0.0.0.0/0 for those, or a narrower one");
    }
    Ok(canonical(network).trunc())
}

/// The network of IPv4-mapped addresses.
const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
const MAPPED_BITS: u8 = 96;

/// Returns a network of IPv4 addresses as such, if it was written as IPv6 (IPv4-mapped, RFC 4291 2.5.5.2): addresses of
/// clients are compared in that form.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(MAPPED_BITS)),
        IpNet::V4(_) => None,
    };
    mapped.and_then(|(address, prefix)| IpNet::new(address.into(), prefix).ok()).unwrap_or(network)
}

/// The known facts of a person; everything that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonFilter {
    /// Their subject, user name or e-mail address, as a whole.
    pub user: Option<String>,
    /// The provider's issuer identifier.
    pub issuer: Option<String>,
    /// The provider's name for them.
    pub subject: Option<String>,
    /// The configured name of the provider.
    pub idp: Option<String>,
    /// A group they are in, as far as the provider last said.
    pub group: Option<String>,
    /// Their e-mail address, if the provider says that it is verified.
    #[serde(default)]
    pub verified_email: Option<String>,
}

/// A provider's word on something that happened, which may come days later: sessions that began when it had long
/// happened are not meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// The moment it happened.
    pub at: OffsetDateTime,
    /// Set if only a person who showed who they are since then is beyond doubt.
    pub proof_needed: bool,
}

impl EventTime {
    /// Is true if a session may be meant. Only what is known speaks for one: a login that was under way then became a
    /// session later, and one by an older authentication is an old one.
    fn concerns(&self, record: &SessionRecord) -> bool {
        let began_later = record.created_at > self.at + LONGEST_LOGIN;
        let was_proven = record.auth_time.map_or(!self.proof_needed, |proven_at| proven_at >= self.at);
        !(began_later && was_proven)
    }
}

/// Some of the sessions; everything that is given must fit, nothing given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The person they are of.
    pub person: PersonFilter,
    /// The network that the login came from; one of a single address is that address.
    pub network: Option<IpNet>,
    /// The kind of browser that the login came from.
    pub browser: Option<BrowserKind>,
    /// The age beyond which they fit.
    pub older_than: Option<Duration>,
    /// The time since their last use beyond which they fit.
    pub idle_longer_than: Option<Duration>,
    /// The event, if sessions that began long after it are not meant.
    pub happened: Option<EventTime>,
}

impl PersonFilter {
    /// The person it names by issuer and subject, whatever else it says.
    pub fn by_subject(&self) -> Option<(&str, &str)> {
        self.issuer.as_deref().zip(self.subject.as_deref())
    }

    /// Is true if it names a person: by user name, address, or issuer and subject.
    pub fn names_a_person(&self) -> bool {
        self.user.is_some() || self.verified_email.is_some() || self.by_subject().is_some()
    }

    /// Is true if a person fits.
    pub fn fits(&self, identity: &Identity) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.issuer, &identity.issuer)
            && is(&self.subject, &identity.subject)
            && is(&self.idp, &identity.idp)
            && self.group.as_ref().is_none_or(|group| identity.groups.contains(group))
            && self.verified_email.as_deref().is_none_or(|wanted| {
                identity.email_verified
                    && identity.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(wanted))
            })
            && self.user.as_deref().is_none_or(|user| {
                user == identity.subject
                    || identity.preferred_username.as_deref() == Some(user)
                    || identity.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(user))
            })
    }
}

impl Filter {
    /// Is true if it means everybody.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Is true if everything that is given says something: an empty name or an age of nothing would fit by accident.
    pub fn is_sensible(&self) -> bool {
        let PersonFilter { user, issuer, subject, idp, group, verified_email } = &self.person;
        let texts = [user, issuer, subject, idp, group, verified_email];
        texts.into_iter().flatten().all(|text| !text.is_empty())
            && [self.older_than, self.idle_longer_than].into_iter().flatten().all(Duration::is_positive)
    }

    /// Is true if a session fits.
    pub fn fits(&self, record: &SessionRecord, last_seen_at: OffsetDateTime, now: OffsetDateTime) -> bool {
        self.person.fits(&record.identity)
            && came_from(self.network, record)
            && self.browser.is_none_or(|browser| browser.fits(record.client.browser()))
            && self.older_than.is_none_or(|age| now - record.created_at > age)
            && self.idle_longer_than.is_none_or(|age| now - last_seen_at > age)
            && self.happened.is_none_or(|happened| happened.concerns(record))
    }

    /// The one person it names by issuer and subject, if it says nothing else of who, from where or how old.
    pub(crate) fn one_person(&self) -> Option<(&str, &str)> {
        self.of_logins().is_some_and(|logins| logins.one_person().is_some()).then(|| self.person.by_subject()).flatten()
    }

    /// Is true if it names a person: by user name, address, or issuer and subject.
    pub fn names_a_person(&self) -> bool {
        self.person.names_a_person()
    }

    /// Means everything of one person.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        let person = PersonFilter {
            issuer: Some(issuer.to_owned()),
            subject: Some(subject.to_owned()),
            ..PersonFilter::default()
        };
        Self { person, ..Self::default() }
    }

    /// Means everything of whoever has this verified address at a provider.
    pub fn address(issuer: &str, email: &str) -> Self {
        let person = PersonFilter {
            issuer: Some(issuer.to_owned()),
            verified_email: Some(email.to_owned()),
            ..PersonFilter::default()
        };
        Self { person, ..Self::default() }
    }

    /// The same as an order that stands, if it speaks of nothing that moves: of who, from where, and how old. It drops
    /// `happened`: a login under way is refused whenever the event was.
    pub fn of_logins(&self) -> Option<LoginFilter> {
        self.idle_longer_than.is_none().then(|| LoginFilter {
            person: self.person.clone(),
            network: self.network,
            browser: self.browser,
            older_than: self.older_than.map(whole_milliseconds),
        })
    }
}

/// Says whom it means, in the words that a terminal takes.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PersonFilter { user, issuer, subject, idp, group, verified_email } = &self.person;
        let age = |age: Option<Duration>| age.map(|age| humantime::format_duration(age.unsigned_abs()).to_string());
        let parts = [
            ("user", user.clone()),
            ("issuer", issuer.clone()),
            ("subject", subject.clone()),
            ("provider", idp.clone()),
            ("group", group.clone()),
            ("verified e-mail", verified_email.clone()),
            ("address", self.network.map(written_network)),
            ("browser", self.browser.map(|browser| browser.to_string())),
            ("older than", age(self.older_than)),
            ("idle longer than", age(self.idle_longer_than)),
            ("begun before", self.happened.map(|happened| happened.at.to_string())),
        ];
        let said: Vec<_> =
            parts.iter().filter_map(|(what, value)| Some(format!("{what} {}", value.as_ref()?))).collect();
        if said.is_empty() { formatter.write_str("everybody") } else { formatter.write_str(&said.join(", ")) }
    }
}

/// Returns a network as people write it: one of a single address is that address.
pub fn written_network(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

fn came_from(network: Option<IpNet>, record: &SessionRecord) -> bool {
    network.is_none_or(|network| record.came_from().is_some_and(|address| network.contains(&address)))
}

/// Some of the logins that are under way, and of the sessions that came from such ones before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFilter {
    /// The person they are of.
    pub person: PersonFilter,
    /// The network they come from.
    pub network: Option<IpNet>,
    /// The kind of browser they come from.
    pub browser: Option<BrowserKind>,
    /// The age beyond which sessions fit, in milliseconds; no login that is under way does.
    pub older_than: Option<i64>,
}

impl LoginFilter {
    /// Is true if it says who is meant, and nothing else.
    pub fn says_who(&self) -> bool {
        self.network.is_none() && self.browser.is_none() && self.older_than.is_none()
    }

    /// Is true if it names a person: by user name, address, or issuer and subject.
    pub fn names_a_person(&self) -> bool {
        self.person.names_a_person()
    }

    /// The one person it names by issuer and subject, if it says nothing else.
    pub fn one_person(&self) -> Option<(&str, &str)> {
        let PersonFilter { user: None, idp: None, group: None, verified_email: None, .. } = &self.person else {
            return None;
        };
        self.person.by_subject().filter(|_| self.says_who())
    }

    /// Is true if a session fits an order given at a moment, or the session that a login becomes.
    pub fn fits(&self, record: &SessionRecord, ordered_at: OffsetDateTime) -> bool {
        self.person.fits(&record.identity)
            && came_from(self.network, record)
            && self.browser.is_none_or(|browser| browser.fits(record.client.browser()))
            && self.older_than.is_none_or(|age| ordered_at - record.created_at > Duration::milliseconds(age))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::record::ClientTraits;

    const NOW: OffsetDateTime = datetime!(2026-01-31 12:00 UTC);

    fn record() -> SessionRecord {
        let identity = Identity {
            idp: "company".into(),
            issuer: "https://idp.example.test".into(),
            subject: "248289761001".into(),
            name: Some("Alice Kim".into()),
            preferred_username: Some("alice".into()),
            email: Some("alice@example.com".into()),
            email_verified: true,
            groups: vec!["staff".into(), "finance".into()],
        };
        let client = ClientTraits::new([192, 0, 2, 7].into(), Some("Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0"));
        SessionRecord { client, ..SessionRecord::for_test(identity, NOW - Duration::HOUR) }
    }

    /// One line a case.
    #[test]
    fn everything_that_is_given_must_fit() {
        let person = |change: fn(&mut PersonFilter)| {
            let mut filter = Filter::default();
            change(&mut filter.person);
            filter
        };
        let with = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter
        };
        for (filter, expected) in [
            (Filter::default(), true),
            (person(|filter| filter.user = Some("alice".into())), true),
            (person(|filter| filter.user = Some("Alice@Example.com".into())), true),
            (person(|filter| filter.user = Some("248289761001".into())), true),
            (person(|filter| filter.user = Some("ali".into())), false),
            (person(|filter| filter.user = Some("Alice Kim".into())), false),
            (person(|filter| filter.group = Some("finance".into())), true),
            (person(|filter| filter.group = Some("fin".into())), false),
            (person(|filter| filter.idp = Some("company".into())), true),
            (person(|filter| filter.issuer = Some("https://other.example.test".into())), false),
            (person(|filter| filter.subject = Some("alice".into())), false),
            (with(|filter| filter.network = parse_network("192.0.2.7").ok()), true),
            (with(|filter| filter.network = parse_network("192.0.2.8").ok()), false),
            (with(|filter| filter.network = parse_network("192.0.2.200/24").ok()), true),
            (with(|filter| filter.network = parse_network("192.0.2.8/29").ok()), false),
            (with(|filter| filter.network = parse_network("::ffff:192.0.2.7").ok()), true),
            (with(|filter| filter.network = parse_network("2001:db8::/32").ok()), false),
            (with(|filter| filter.browser = "Firefox".parse().ok()), true),
            (with(|filter| filter.browser = "Linux".parse().ok()), true),
            (with(|filter| filter.browser = "Firefox on Windows".parse().ok()), false),
            (with(|filter| filter.older_than = Some(Duration::minutes(59))), true),
            (with(|filter| filter.older_than = Some(Duration::HOUR)), false),
            (with(|filter| filter.idle_longer_than = Some(Duration::minutes(9))), true),
            (with(|filter| filter.idle_longer_than = Some(Duration::minutes(10))), false),
        ] {
            assert_eq!(filter.fits(&record(), NOW - Duration::minutes(10), NOW), expected, "{filter:?}");
        }
    }

    /// Each case is a line: when it happened, when the session's person proved who they are, whether a change of
    /// credentials and whether an end of sessions concerns it.
    #[test]
    fn late_tidings_concern_what_may_have_been_before_and_nothing_else() {
        let established = record().created_at;
        let ago = |minutes| established - Duration::minutes(minutes);
        for (at, auth_time, changed, revoked) in [
            (established + Duration::HOUR, None, true, true),
            (established, Some(established), true, true),
            // The login may have been under way.
            (ago(15), Some(established), true, true),
            (ago(16), Some(established), false, false),
            (ago(16), Some(ago(16)), false, false),
            (ago(16), Some(ago(17)), true, true),
            (ago(16), None, true, false),
        ] {
            let record = SessionRecord { auth_time, ..record() };
            let concerns = |proof_needed| EventTime { at, proof_needed }.concerns(&record);
            assert_eq!([concerns(true), concerns(false)], [changed, revoked], "{at} {auth_time:?}");
        }
    }

    #[test]
    fn a_login_under_way_can_be_meant_by_anything_but_its_age() {
        let mut filter = Filter::subject("https://idp.example.test", "248289761001");
        assert!(filter.of_logins().unwrap().one_person().is_some());
        filter.network = parse_network("192.0.2.7").ok();
        let logins = filter.of_logins().unwrap();
        assert!(logins.fits(&record(), NOW) && !logins.says_who() && logins.one_person().is_none());
        filter.network = parse_network("192.0.2.8").ok();
        assert!(!filter.of_logins().unwrap().fits(&record(), NOW));
        // Whoever is just signing in is refused once, and told.
        filter.happened = Some(EventTime { at: NOW - Duration::DAY, proof_needed: false });
        assert!(filter.of_logins().is_some());
        filter.idle_longer_than = Some(Duration::HOUR);
        assert!(filter.of_logins().is_none(), "use moves it");
        assert!(Filter::default().of_logins().unwrap().fits(&record(), NOW));
    }

    /// Ages count from the order: whoever signs in later never grows into it.
    #[test]
    fn an_order_by_age_means_sessions_that_were_old_when_it_was_given() {
        let filter = Filter { older_than: Some(Duration::minutes(30)), ..Filter::default() };
        let logins = filter.of_logins().unwrap();
        assert!(logins.one_person().is_none() && !logins.says_who());
        for (age, fits) in [(Duration::minutes(31), true), (Duration::minutes(30), false), (Duration::ZERO, false)] {
            let record = SessionRecord { created_at: NOW - age, ..record() };
            assert_eq!(logins.fits(&record, NOW), fits, "{age}");
        }
    }

    #[test]
    fn networks_are_read_as_people_write_them() {
        for (text, network) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7/24", Some("192.0.2.0/24")),
            ("192.0.2.7/32", Some("192.0.2.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("2001:db8::7/48", Some("2001:db8::/48")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("::ffff:192.0.2.7/128", Some("192.0.2.7")),
            ("::ffff:192.0.2.7/120", Some("192.0.2.0/24")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:192.0.2.7/64", None),
            ("::/0", None),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("192.0.2", None),
            ("192.0.2.7/33", None),
            ("bob", None),
            ("", None),
        ] {
            assert_eq!(parse_network(text).ok().map(written_network).as_deref(), network, "{text}");
        }
    }
}
