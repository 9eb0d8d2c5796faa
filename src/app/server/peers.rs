//! Who has how many connections, and who makes room when there are too many.
//!
//! One peer has no more than its share, so that nobody can take every place; proxies have no share, since they speak
//! for many. Where there is no room for a newcomer, whoever has been idle for longest goes first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::Progress;

/// Every connection of a listener.
#[derive(Debug)]
pub(super) struct Peers {
    share: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    connections: HashMap<u64, Connection>,
    /// How many connections each peer has, but for those that were asked to go.
    counts: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    /// Whose share it is of.
    peer: Option<IpAddr>,
    progress: Arc<Progress>,
    leaving: bool,
}

/// A connection's place; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    peers: Arc<Peers>,
}

impl Peers {
    /// Nobody yet; no peer may have more than `share` connections.
    pub(super) fn new(share: usize) -> Self {
        Self { share, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new connection its place. A peer that has its share already gives up the connection that it has not used
    /// for longest; if it uses them all, there is no place. A proxy (`None`) has no share.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>, progress: Arc<Progress>) -> Option<Place> {
        let mut state = self.state();
        let peer = peer.map(name);
        if let Some(peer) = peer
            && state.counts.get(&peer).is_some_and(|count| *count >= self.share)
            && !state.dismiss(|connection| connection.peer == Some(peer))
        {
            return None;
        }
        if let Some(peer) = peer {
            *state.counts.entry(peer).or_default() += 1;
        }
        let number = state.next;
        state.next += 1;
        state.connections.insert(number, Connection { peer, progress, leaving: false });
        Some(Place { number, peers: self.clone() })
    }

    /// Asks the connection that has been idle for longest to go, whosever it is.
    pub(super) fn make_room(&self) {
        self.state().dismiss(|_| true);
    }

    /// Asks every connection to go.
    pub(super) fn dismiss_all(&self) {
        for connection in self.state().connections.values() {
            connection.progress.leave.notify_one();
        }
    }
}

impl State {
    /// Asks the one that has been idle for longest to go, of those that are meant; `false` if all of them are in use.
    fn dismiss(&mut self, is_meant: impl Fn(&Connection) -> bool) -> bool {
        let idle = self.connections.values_mut().filter(|connection| !connection.leaving && is_meant(connection));
        let idle = idle.filter_map(|connection| Some((connection.progress.idle_since()?, connection)));
        let Some((_, connection)) = idle.min_by_key(|(since, _)| *since) else { return false };
        connection.leaving = true;
        connection.progress.leave.notify_one();
        let peer = connection.peer;
        self.count_out(peer);
        true
    }

    fn count_out(&mut self, peer: Option<IpAddr>) {
        let Some(peer) = peer else { return };
        if let Some(count) = self.counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&peer);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.peers.state();
        if let Some(Connection { peer, leaving: false, .. }) = state.connections.remove(&self.number) {
            state.count_out(peer);
        }
    }
}

/// What counts as one peer: an address, or what one customer gets of IPv6 (a /64).
fn name(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    fn progress() -> Arc<Progress> {
        Arc::new(Progress::new(Duration::from_secs(75), Instant::now()))
    }

    fn busy() -> Arc<Progress> {
        let progress = progress();
        progress.request_began();
        progress
    }

    fn was_asked_to_go(place: &Place) -> bool {
        let progress = place.peers.state().connections[&place.number].progress.clone();
        progress.leave.notified().now_or_never().is_some()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_its_share_and_others_have_theirs() {
        let peers = Arc::new(Peers::new(2));
        let admit = |peer: &str| peers.admit(Some(address(peer)), busy());
        let mut held = vec![admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap()];
        for refused in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(admit(refused).is_none(), "{refused}");
        }
        for other in ["192.0.2.2", "2001:db8::1", "2001:db8::ffff:1"] {
            held.push(admit(other).unwrap());
        }
        assert!(admit("2001:db8:0:0:8000::2").is_none(), "the same /64");
        held.push(admit("2001:db8:0:1::1").unwrap());
        held.extend((0..10).map(|_| peers.admit(None, busy()).unwrap()));
        held.remove(0);
        held.push(admit("192.0.2.1").unwrap());
        held.clear();
        let state = peers.state();
        assert!(state.connections.is_empty() && state.counts.is_empty(), "nothing is left of those who went");
    }

    #[test]
    fn the_longest_idle_makes_room_and_whoever_works_is_left_alone() {
        let peers = Arc::new(Peers::new(3));
        let admit = |peer, progress| peers.admit(Some(address(peer)), progress).unwrap();
        let (working, oldest, newer) =
            (admit("192.0.2.1", busy()), admit("192.0.2.1", progress()), admit("192.0.2.1", progress()));
        let elsewhere = admit("192.0.2.2", progress());
        let newcomer = admit("192.0.2.1", busy());
        assert!(was_asked_to_go(&oldest) && !was_asked_to_go(&newer));
        drop(oldest);
        assert!(peers.admit(Some(address("192.0.2.1")), busy()).is_some(), "the next one makes room as well");
        assert!(was_asked_to_go(&newer));
        peers.make_room();
        assert!(was_asked_to_go(&elsewhere));
        peers.make_room();
        assert!(!was_asked_to_go(&working) && !was_asked_to_go(&newcomer));
        peers.dismiss_all();
        assert!(was_asked_to_go(&working), "at the end everybody goes");
    }
}
