//! Signatures: what can be told of a session by its entry in the registry, without opening its record.
//!
//! A signature is a few bytes of keyed hashes behind the handle. It says "no" or "perhaps", never "yes": the record
//! decides. So a search by group or address opens the few records that may fit, and not all there are.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

use super::browser::BrowserKind;
use super::filter::Filter;
use super::hashed_name::Names;
use super::record::SessionRecord;

/// Bytes of a signature.
const BYTES: usize = 22;
/// Characters of one in the store.
pub(super) const CHARACTERS: usize = 30;
/// Groups beyond which a signature tells nothing about them: most bits would be set anyway.
const MOST_GROUPS: usize = 40;
/// Bits that each group sets (a Bloom filter).
const BITS_OF_A_GROUP: usize = 3;
/// Bits of an address that name its network.
const NETWORK_BITS: (u8, u8) = (24, 48);

/// A session as far as its signature tells. Each field but the browser is the beginning of a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Signature {
    /// Tells which index key made it: of another key's it cannot be told what they say.
    key: u8,
    provider: u8,
    network: u8,
    address: u8,
    browser: u8,
    user_name: u8,
    email: u8,
    subject: u8,
    display_name: [u8; 2],
    /// Issuer and subject.
    person: [u8; 2],
    /// Issuer and `sid`.
    provider_session: [u8; 2],
    groups: u64,
}

impl Signature {
    pub(super) fn of(record: &SessionRecord, names: &Names) -> Self {
        let identity = &record.identity;
        let issuer = &identity.issuer;
        let address = record.came_from();
        Self {
            key: names.key_check(),
            provider: names.byte("provider", &[&identity.idp]),
            network: address.map_or(0, |address| network_byte(names, address)),
            address: address.map_or(0, |address| names.byte("address", &[&address.to_string()])),
            browser: record.client.browser().byte(),
            user_name: identity.preferred_username.as_deref().map_or(0, |name| user_byte(names, name)),
            email: identity.email.as_deref().map_or(0, |email| user_byte(names, email)),
            subject: user_byte(names, &identity.subject),
            display_name: names.tag("name", &[&identity.display_name().to_lowercase()]),
            person: names.tag("person", &[issuer, &identity.subject]),
            provider_session: record.provider_session.as_ref().map_or([0; 2], |sid| names.tag("sid", &[issuer, sid])),
            groups: bits_of(names, &identity.groups),
        }
    }

    /// Reads the text of a signature.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut read = [0; BYTES];
        if text.len() != CHARACTERS || URL_SAFE_NO_PAD.decode_slice(text, &mut read).ok()? != BYTES {
            return None;
        }
        let [key, provider, network, address, browser, user_name, email, subject, rest @ ..] = read;
        let [n1, n2, p1, p2, s1, s2, groups @ ..] = rest;
        Some(Self {
            key,
            provider,
            network,
            address,
            browser,
            user_name,
            email,
            subject,
            display_name: [n1, n2],
            person: [p1, p2],
            provider_session: [s1, s2],
            groups: u64::from_be_bytes(groups),
        })
    }
}

/// Writes the text that stands behind a handle.
impl fmt::Display for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        let Self { key, provider, network, address, browser, user_name, email, subject, .. } = *self;
        bytes[..8].copy_from_slice(&[key, provider, network, address, browser, user_name, email, subject]);
        bytes[8..10].copy_from_slice(&self.display_name);
        bytes[10..12].copy_from_slice(&self.person);
        bytes[12..14].copy_from_slice(&self.provider_session);
        bytes[14..].copy_from_slice(&self.groups.to_be_bytes());
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signature({self})")
    }
}

/// The traits that signatures of wanted sessions have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Probe {
    key: u8,
    provider: Option<u8>,
    network: Option<u8>,
    address: Option<u8>,
    browser: Option<BrowserKind>,
    /// The user name, e-mail address or subject.
    user: Option<u8>,
    email: Option<u8>,
    subject: Option<u8>,
    person: Option<[u8; 2]>,
    provider_session: Option<[u8; 2]>,
    groups: u64,
}

impl Probe {
    /// The traits that whatever fits a filter has.
    pub(super) fn of(filter: &Filter, names: &Names) -> Self {
        let person = &filter.person;
        let user = |text: &String| user_byte(names, text);
        let is_host = |network: &&IpNet| network.prefix_len() == network.max_prefix_len();
        let is_narrow = |network: &&IpNet| network.prefix_len() >= network_bits(network.addr());
        Self {
            key: names.key_check(),
            provider: person.idp.as_ref().map(|idp| names.byte("provider", &[idp])),
            network: filter.network.as_ref().filter(is_narrow).map(|network| network_byte(names, network.addr())),
            address: filter
                .network
                .as_ref()
                .filter(is_host)
                .map(|network| names.byte("address", &[&network.addr().to_string()])),
            browser: filter.browser,
            user: person.user.as_ref().map(user),
            email: person.verified_email.as_ref().map(user),
            subject: person.subject.as_ref().map(user),
            person: person.by_subject().map(|(issuer, subject)| names.tag("person", &[issuer, subject])),
            provider_session: None,
            groups: person.group.as_ref().map_or(0, |group| bits_of(names, std::slice::from_ref(group))),
        }
    }

    /// The traits of every session that came from one session at a provider.
    pub(super) fn of_provider_session(issuer: &str, sid: &str, names: &Names) -> Self {
        Self { key: names.key_check(), provider_session: Some(names.tag("sid", &[issuer, sid])), ..Self::default() }
    }

    /// Is true if everything may fit.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self { key: self.key, ..Self::default() }
    }

    /// Is false if the session of a signature is certainly not wanted.
    pub(super) fn may_fit(&self, signature: Option<&Signature>) -> bool {
        let Some(found) = signature.filter(|found| found.key == self.key) else { return true };
        is(self.provider, found.provider)
            && is(self.network, found.network)
            && is(self.address, found.address)
            && self.browser.is_none_or(|browser| browser.fits(BrowserKind::of_byte(found.browser)))
            && self.user.is_none_or(|user| [found.user_name, found.email, found.subject].contains(&user))
            && is(self.email, found.email)
            && is(self.subject, found.subject)
            && is(self.person, found.person)
            && is(self.provider_session, found.provider_session)
            && found.groups & self.groups == self.groups
    }
}

fn is<T: PartialEq + Copy>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

/// User names, e-mail addresses and subjects have one kind of hash: whoever looks for a user may mean any of them.
fn user_byte(names: &Names, text: &str) -> u8 {
    names.byte("user", &[&text.to_lowercase()])
}

fn network_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { NETWORK_BITS.0 } else { NETWORK_BITS.1 }
}

fn network_byte(names: &Names, address: IpAddr) -> u8 {
    let network = IpNet::new(address, network_bits(address)).map(|network| network.trunc().to_string());
    names.byte("network", &[&network.unwrap_or_default()])
}

fn bits_of(names: &Names, groups: &[String]) -> u64 {
    if groups.len() > MOST_GROUPS {
        return u64::MAX;
    }
    groups
        .iter()
        .flat_map(|group| names.tag::<BITS_OF_A_GROUP>("group", &[group]))
        .fold(0, |bits, byte| bits | 1 << (byte & 63))
}

#[cfg(test)]
mod tests {
    use counterfoil_core::identity::Identity;
    use time::OffsetDateTime;

    use super::*;
    use crate::record::ClientTraits;

    fn names() -> Names {
        Names::of([7; 32])
    }

    fn record(user: u8, groups: &[u8], address: [u8; 4], sid: Option<u8>, browser: usize) -> SessionRecord {
        let identity = Identity {
            idp: format!("provider-{}", user % 3),
            issuer: format!("https://idp-{}.example.test", user % 2),
            subject: format!("Subject-{user}"),
            name: Some(format!("Person {user}")),
            preferred_username: (!user.is_multiple_of(3)).then(|| format!("User{user}")),
            email: (!user.is_multiple_of(5)).then(|| format!("User{user}@Example.com")),
            email_verified: true,
            groups: groups.iter().map(|group| format!("group-{group}")).collect(),
        };
        let agent = ["Chrome/1 (Windows)", "Firefox/1 (Linux)", "curl/8", "of its own"][browser % 4];
        SessionRecord {
            client: ClientTraits::new(address.into(), Some(agent)),
            provider_session: sid.map(|sid| format!("sid-{sid}")),
            ..SessionRecord::for_test(identity, OffsetDateTime::UNIX_EPOCH)
        }
    }

    /// Every filter that fits the record, alone.
    fn fitting(record: &SessionRecord) -> Vec<Filter> {
        let identity = &record.identity;
        let mut filters = vec![Filter::default(), Filter::subject(&identity.issuer, &identity.subject)];
        let mut with = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filters.push(filter);
        };
        let users = [Some(&identity.subject), identity.preferred_username.as_ref(), identity.email.as_ref()];
        for user in users.into_iter().flatten() {
            with(&|filter| filter.person.user = Some(user.clone()));
        }
        if let Some(email) = &identity.email {
            with(&|filter| filter.person.user = Some(email.to_uppercase()));
            with(&|filter| filter.person.verified_email = Some(email.to_uppercase()));
        }
        with(&|filter| filter.person.subject = Some(identity.subject.clone()));
        with(&|filter| filter.person.idp = Some(identity.idp.clone()));
        with(&|filter| filter.person.issuer = Some(identity.issuer.clone()));
        for group in &identity.groups {
            with(&|filter| filter.person.group = Some(group.clone()));
        }
        let address = record.came_from().unwrap();
        for prefix in [32, 28, 24, 16, 0] {
            with(&|filter| filter.network = Some(IpNet::new(address, prefix).unwrap().trunc()));
        }
        with(&|filter| filter.browser = Some(record.client.browser()).filter(|kind| kind.byte() != 0));
        filters
    }

    /// A signature never hides a session that fits: whatever fits the filter may fit by its signature.
    #[test]
    fn a_signature_says_no_to_nothing_that_fits() {
        let (names, other) = (names(), Names::of([8; 32]));
        assert_ne!(names.key_check(), other.key_check());
        for user in 0..60_u8 {
            for count in [0, 1, 5, 20, 40, 41] {
                let groups: Vec<u8> = (0..count).map(|group| group ^ user).collect();
                let sid = (user % 4 != 0).then_some(user);
                let record = record(user, &groups, [198, 51, user, count], sid, usize::from(user + count));
                let signature = Signature::of(&record, &names);
                let read = Signature::parse(&signature.to_string());
                assert_eq!(read, Some(signature));
                for filter in fitting(&record) {
                    assert!(filter.fits(&record, record.created_at, record.created_at), "{filter:?}");
                    assert!(Probe::of(&filter, &names).may_fit(read.as_ref()), "{filter:?}");
                    // What another index key made, or nobody can read, hides nothing.
                    assert!(Probe::of(&filter, &other).may_fit(read.as_ref()), "{filter:?}");
                    assert!(Probe::of(&filter, &names).may_fit(None), "{filter:?}");
                }
                if let Some(sid) = &record.provider_session {
                    let probe = Probe::of_provider_session(&record.identity.issuer, sid, &names);
                    assert!(probe.may_fit(read.as_ref()));
                }
            }
        }
    }

    #[test]
    fn a_signature_says_no_to_nearly_everything_that_does_not_fit() {
        let names = names();
        let wanted = record(1, &[1], [192, 0, 2, 7], Some(1), 0);
        let of_others: Vec<_> = (2..202_u8)
            .map(|other| record(other, &[other, other.wrapping_add(50)], [198, 51, 100, other], Some(other), 1))
            .map(|record| Signature::of(&record, &names))
            .collect();
        for filter in fitting(&wanted) {
            let probe = Probe::of(&filter, &names);
            let found = of_others.iter().filter(|signature| probe.may_fit(Some(signature))).count();
            let is_told = !probe.is_empty() && filter.person.idp.is_none();
            assert!(if is_told { found <= 10 } else { found > 10 }, "{found} of 200 may fit {filter:?}");
        }
    }
}
