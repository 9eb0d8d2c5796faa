//! Redis by an IPv6 address: everything works as by any other, the near cache too, which has connections of its own. Found by
//! trying `redis://[::1]:6379`; the members beside it by looking for whoever names a server: the URL, a cluster, Sentinel.

use std::process::Command;
use std::sync::Arc;

use counterfoil::session_redis::RedisBackend;

use crate::support::broker::{Broker, Setup, Store};
use crate::support::child::{Program, free_port, free_ports, until, wait_until};
use crate::support::program::Folder;
use crate::support::redis::{Redis, settings_of};

/// A server on both loopback addresses.
fn server(port: u16, more: &[&str]) -> Redis {
    Redis::start_with(port, &[&["--bind", "127.0.0.1", "::1"], more].concat())
}

async fn is_served_from_the_near_cache(url: String, redis: &Redis) {
    let store = Arc::new(RedisBackend::connect(settings_of(url)).unwrap());
    let broker = Broker::with(Setup { store: Store::Shared(store), ..Setup::default() }).await;
    let browser = broker.signed_in_after_an_outage().await;
    let handle = broker.handle(&browser).await;
    broker.served_from_memory(&browser, || redis.gets()).await;
    assert_eq!(redis.ask(&["DEL", &handle]), "1");
    until("a deletion is heard of", async || broker.status(&browser).await == 401).await;
}

#[tokio::test]
async fn the_near_cache_works_with_every_kind_of_address() {
    let redis = server(free_port(), &[]);
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "localhost", "127.0.0.1"] {
        is_served_from_the_near_cache(format!("redis://{host}:{}/0", redis.port()), &redis).await;
    }
}

#[tokio::test]
async fn a_cluster_may_name_its_nodes_by_ipv6_addresses() {
    let [port, bus] = free_ports::<2>();
    let bus = bus.to_string();
    let redis = server(port, &["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-announce-ip", "::1"]);
    redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_until("the cluster is whole", || redis.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    is_served_from_the_near_cache(format!("redis-cluster://[::1]:{port}?node=[::1]:{port}"), &redis).await;
}

#[tokio::test]
async fn sentinel_may_name_the_primary_by_an_ipv6_address() {
    let (redis, folder, port) = (server(free_port(), &[]), Folder::new(), free_port());
    let text = format!(
        "port {port}\nbind 127.0.0.1 ::1\ndir {}\nsentinel monitor mymaster ::1 {} 1\n\
         sentinel down-after-milliseconds mymaster 3600000\n",
        folder.path().display(),
        redis.port()
    );
    let file = folder.write("sentinel.conf", &text);
    let sentinel = Program::start(Command::new("redis-server").args([&file, "--sentinel"]));
    sentinel.wait_for("+monitor master mymaster");
    let url = format!("redis-sentinel://[::1]:{port}/0?sentinelServiceName=mymaster&node=[::1]:{port}");
    is_served_from_the_near_cache(url, &redis).await;
}
