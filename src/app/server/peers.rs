//! A count of each peer's connections, and the choice of one to make room when there are too many.
//!
//! One peer has no more than its share, so that nobody can take every place; proxies have no share, since they speak
//! for many. If there is no room for a new connection, the one that has been idle for longest is closed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::progress::Progress;
use counterfoil_core::lock;

/// Every connection of a listener.
#[derive(Debug)]
pub(super) struct Peers {
    share: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Each peer's connections by their numbers; all proxies are one (`None`).
    of: HashMap<Option<IpAddr>, HashMap<u64, Connection>>,
}

#[derive(Debug)]
struct Connection {
    progress: Arc<Progress>,
    leaving: bool,
}

/// A connection's place; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peer: Option<IpAddr>,
    number: u64,
    peers: Arc<Peers>,
}

impl Peers {
    /// Makes an empty table; no peer may have more than `share` connections.
    pub(super) fn new(share: usize) -> Self {
        Self { share, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything could panic.
        lock(&self.state)
    }

    /// Gives a new connection its place. A peer that has its share already gives up the connection that it has not used
    /// for longest; if it uses them all, there is no place. Those that were asked to go may take a while, so their
    /// number has a bound too. A proxy (`None`) has no share.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        progress: Arc<Progress>,
        now: Instant,
    ) -> Option<Place> {
        let mut state = self.state();
        let (peer, number) = (peer.map(name), state.next);
        if let (Some(_), Some(connections)) = (peer, state.of.get_mut(&peer))
            && connections.len() >= self.share
        {
            let staying = connections.values().filter(|connection| !connection.leaving).count();
            let is_bound_reached = connections.len() - staying >= most_leaving(self.share);
            if staying >= self.share && (is_bound_reached || !dismiss(connections.values_mut(), now)) {
                return None;
            }
        }
        state.next += 1;
        state.of.entry(peer).or_default().insert(number, Connection { progress, leaving: false });
        Some(Place { peer, number, peers: self.clone() })
    }

    /// Closes the connection that has been idle for longest, of any peer.
    pub(super) fn make_room(&self, now: Instant) {
        dismiss(self.state().of.values_mut().flat_map(HashMap::values_mut), now);
    }

    /// Asks every connection to go.
    pub(super) fn dismiss_all(&self) {
        for connection in self.state().of.values().flat_map(HashMap::values) {
            connection.progress.leave.notify_one();
        }
    }
}

/// The number of connections a peer may have beyond its share while they are on their way out.
fn most_leaving(share: usize) -> usize {
    (share / 4).max(4)
}

/// Closes the one of them that has been idle for longest; `false` if all of them are in use.
fn dismiss<'a>(connections: impl Iterator<Item = &'a mut Connection>, now: Instant) -> bool {
    let idle = connections.filter(|connection| !connection.leaving);
    let idle = idle.filter_map(|connection| Some((connection.progress.idle_since(now)?, connection)));
    let Some((_, connection)) = idle.min_by_key(|(since, _)| *since) else { return false };
    connection.leaving = true;
    connection.progress.leave.notify_one();
    true
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.peers.state();
        if let Entry::Occupied(mut connections) = state.of.entry(self.peer) {
            connections.get_mut().remove(&self.number);
            if connections.get().is_empty() {
                connections.remove();
            }
        }
    }
}

/// The name of a peer: its address, or the part of it that one customer gets of IPv6 (a /64).
fn name(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use futures_util::FutureExt;

    fn progress() -> Arc<Progress> {
        Arc::new(Progress::new(Duration::from_secs(75), Instant::now()))
    }

    fn idle() -> Arc<Progress> {
        let progress = busy();
        progress.answered(Instant::now());
        progress
    }

    fn busy() -> Arc<Progress> {
        let progress = progress();
        progress.request_began();
        progress
    }

    fn was_asked_to_go(place: &Place) -> bool {
        let progress = place.peers.state().of[&place.peer][&place.number].progress.clone();
        progress.leave.notified().now_or_never().is_some()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_its_share_and_others_have_theirs() {
        let peers = Arc::new(Peers::new(2));
        let admit = |peer: &str| peers.admit(Some(address(peer)), busy(), Instant::now());
        let mut held = vec![admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap()];
        for refused in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(admit(refused).is_none(), "{refused}");
        }
        for other in ["192.0.2.2", "2001:db8::1", "2001:db8::ffff:1"] {
            held.push(admit(other).unwrap());
        }
        assert!(admit("2001:db8:0:0:8000::2").is_none(), "the same /64");
        held.push(admit("2001:db8:0:1::1").unwrap());
        held.extend((0..10).map(|_| peers.admit(None, busy(), Instant::now()).unwrap()));
        held.remove(0);
        held.push(admit("192.0.2.1").unwrap());
        held.clear();
        let state = peers.state();
        assert!(state.of.is_empty(), "nothing is left of those who went");
    }

    #[test]
    fn the_longest_idle_connection_makes_room_and_busy_ones_stay() {
        let peers = Arc::new(Peers::new(3));
        let admit = |peer, progress| peers.admit(Some(address(peer)), progress, Instant::now()).unwrap();
        let (working, oldest, newer) =
            (admit("192.0.2.1", busy()), admit("192.0.2.1", idle()), admit("192.0.2.1", idle()));
        let elsewhere = admit("192.0.2.2", idle());
        let newcomer = admit("192.0.2.1", busy());
        assert!(was_asked_to_go(&oldest) && !was_asked_to_go(&newer));
        drop(oldest);
        assert!(
            peers.admit(Some(address("192.0.2.1")), busy(), Instant::now()).is_some(),
            "the next one makes room as well"
        );
        assert!(was_asked_to_go(&newer));
        peers.make_room(Instant::now());
        assert!(was_asked_to_go(&elsewhere));
        peers.make_room(Instant::now());
        assert!(!was_asked_to_go(&working) && !was_asked_to_go(&newcomer));
        peers.dismiss_all();
        assert!(was_asked_to_go(&working), "at the end everybody goes");
    }

    /// Closing takes a while: the client may still be sending, or reading an answer.
    #[test]
    fn a_client_that_delays_its_close_gains_few_connections() {
        let (now, peer) = (Instant::now(), Some(address("192.0.2.1")));
        for (share, most) in [(1, 5), (2, 6), (4, 8), (40, 50)] {
            let peers = Arc::new(Peers::new(share));
            let mut held: Vec<_> = (0..10 * share + 10).map_while(|_| peers.admit(peer, idle(), now)).collect();
            assert_eq!(held.len(), most, "a share of {share}");
            assert!(peers.admit(Some(address("192.0.2.2")), idle(), now).is_some(), "somebody else");
            held.remove(0);
            held.push(peers.admit(peer, idle(), now).unwrap());
            assert!(peers.admit(peer, idle(), now).is_none());
        }
    }

    /// A new connection has not been read yet, and one whose answer is being read is not idle.
    #[test]
    fn a_connection_about_to_be_served_is_not_closed() {
        let reading = idle();
        reading.write_waits();
        let peers = Arc::new(Peers::new(2));
        let admit = |progress, now| peers.admit(Some(address("192.0.2.1")), progress, now);
        let (newcomer, now) = (progress(), Instant::now());
        let (newcomer, reading) = (admit(newcomer, now).unwrap(), admit(reading, now).unwrap());
        assert!(admit(busy(), now).is_none());
        peers.make_room(now);
        assert!(!was_asked_to_go(&newcomer) && !was_asked_to_go(&reading));
        let later = now + Duration::from_secs(1);
        assert!(admit(busy(), later).is_some());
        peers.make_room(later);
        assert!(was_asked_to_go(&newcomer) && !was_asked_to_go(&reading));
    }
}
