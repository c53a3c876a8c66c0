//! Who may connect: bounds in all and for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::counters::NetCounters;
use crate::limits::NetLimits;

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server has no room for more connections: HTTP 503.
    Connections,
    /// The address has as many as it may have: HTTP 429.
    ConnectionsPerAddress,
}

/// Counts connections and refuses one too many.
#[derive(Debug)]
pub(super) struct Admission {
    connections: usize,
    per_address: usize,
    counters: Arc<NetCounters>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place. Dropped with the connection.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(limits: &NetLimits, counters: Arc<NetCounters>) -> Arc<Self> {
        Arc::new(Self {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            counters,
            addresses: Mutex::default(),
        })
    }

    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Refusal> {
        let address = holder(peer);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = if self.counters.connections() >= self.connections {
            Err(Refusal::Connections)
        } else if addresses.get(&address).is_some_and(|count| *count >= self.per_address) {
            Err(Refusal::ConnectionsPerAddress)
        } else {
            Ok(())
        };
        if let Err(refusal) = admitted {
            self.counters.count_refused(refusal);
            return Err(refusal);
        }
        *addresses.entry(address).or_default() += 1;
        self.counters.count_accepted();
        self.counters.gauge_connections().fetch_add(1, Ordering::Relaxed);
        Ok(Place { admission: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let admission = &self.admission;
        admission.counters.gauge_connections().fetch_sub(1, Ordering::Relaxed);
        let mut addresses = admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Whom an address stands for: one IPv6 subscriber has a whole /64 of them.
fn holder(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Admission, Refusal};
    use crate::limits::NetLimits;
    use crate::net::counters::NetCounters;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn admission(connections: usize, connections_per_address: usize) -> Arc<Admission> {
        let limits = NetLimits { connections, connections_per_address, ..NetLimits::default() };
        Admission::new(&limits, Arc::default())
    }

    #[test]
    fn one_connection_too_many_is_refused_until_another_ends() {
        let admission = admission(2, 2);
        let first = admission.admit(address("192.0.2.1")).expect("room for two");
        let _second = admission.admit(address("192.0.2.2")).expect("room for two");
        assert_eq!(admission.admit(address("192.0.2.3")).err(), Some(Refusal::Connections));
        drop(first);
        assert!(admission.admit(address("192.0.2.3")).is_ok());
    }

    #[test]
    fn one_ipv6_subscriber_counts_as_one_address_and_a_mapped_ipv4_as_itself() {
        let admission = admission(9, 1);
        let _one = admission.admit(address("2001:db8:1:2::1")).expect("the first");
        let same = admission.admit(address("2001:db8:1:2:ffff::2"));
        assert_eq!(same.err(), Some(Refusal::ConnectionsPerAddress));
        let _other = admission.admit(address("2001:db8:1:3::1")).expect("another subscriber");

        let _four = admission.admit(address("192.0.2.1")).expect("the first");
        let mapped = admission.admit(address("::ffff:192.0.2.1"));
        assert_eq!(mapped.err(), Some(Refusal::ConnectionsPerAddress));
        assert_eq!(admission.counters.refused(Refusal::ConnectionsPerAddress), 2);
        let counters: &NetCounters = &admission.counters;
        assert_eq!((counters.connections(), counters.accepted()), (3, 3));
    }
}
