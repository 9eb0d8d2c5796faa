//! The allocations of one request through the whole broker: a budget that no noisy machine can spoil.
//!
//! A client and an upstream that allocate nothing themselves, real connections that stay open, a session that Redis has
//! told the near cache of. Growing an allocation counts as one. Times belong into the benchmarks.

#[path = "../benches/common/processes.rs"]
#[expect(dead_code, reason = "benchmarks need more of it")]
mod processes;
#[path = "../benches/common/sessions.rs"]
#[expect(dead_code, reason = "benchmarks need more of it")]
mod sessions;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use axum::Router;
use counterfoil::app::server::serve;
use counterfoil::app::site::BackOffice;
use counterfoil::app::{App, Dependencies};
use counterfoil::clock::SystemClock;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

use crate::processes::{Program, free_port};
use crate::sessions::{HOST, configuration, cookie, establish, random_key, settings};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most allocations of a request that an application behind the guard answers in this process.
const GUARDED: usize = 24;
/// Most allocations of a request that is forwarded to an upstream.
const PROXIED: usize = 31;

/// Requests of a round. Whatever is done once in a while disappears among them.
const COUNTED: usize = 500;
/// Rounds, of which the best counts: in the first ones caches, pools and buffers reach their size.
const ROUNDS: usize = 5;

/// The counter is the whole process's: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 2\r\n\
    cache-control: private\r\ndate: Mon, 30 Nov 2026 12:00:00 GMT\r\n\r\nok";

#[test]
fn a_guarded_request_stays_within_its_allocations() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let spent =
        allocations_of_a_request("http://127.0.0.1:1", |app| app.in_front_of(Router::new().fallback(async || "ok")));
    println!("a guarded request: {spent} allocations");
    assert!(spent <= GUARDED, "{spent} allocations, {GUARDED} are allowed");
}

#[test]
fn a_proxied_request_stays_within_its_allocations() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let spent = allocations_of_a_request(&format!("http://{}", upstream()), App::site);
    println!("a proxied request: {spent} allocations");
    assert!(spent <= PROXIED, "{spent} allocations, {PROXIED} are allowed");
}

/// The allocations of one request of somebody who is signed in, on a connection that stays open.
fn allocations_of_a_request<S: BackOffice>(upstream: &str, site: impl FnOnce(&App) -> S) -> usize {
    let redis_port = free_port();
    let _redis = Program::redis(redis_port, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (address, key) = broker(&runtime, redis_port, upstream, site);
    let request = format!(
        "GET /orders/17?view=full HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) \
         Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\n\
         Accept-Encoding: gzip, deflate, br\r\nCookie: theme=dark; {}\r\n\r\n",
        cookie(&key)
    );
    let mut client = TcpStream::connect(address).unwrap();
    let rounds = (0..ROUNDS).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNTED {
            ask(&mut client, request.as_bytes());
        }
        let spent = region.change();
        (spent.allocations + spent.reallocations) / COUNTED
    });
    rounds.min().unwrap()
}

/// Starts a broker in this process with somebody signed in; its address, and the value of their cookie.
fn broker<S: BackOffice>(
    runtime: &Runtime,
    redis_port: u16,
    upstream: &str,
    site: impl FnOnce(&App) -> S,
) -> (SocketAddr, String) {
    let route = format!("[[route]]\npath = \"/\"\nupstream = \"{upstream}\"\n");
    let redis = format!("redis://127.0.0.1:{redis_port}/0");
    let settings = settings(configuration(&redis, &random_key(), "", &route));
    runtime.block_on(async {
        counterfoil::telemetry::start(settings.log, std::io::stderr);
        let clock = Arc::new(SystemClock);
        let store = settings.store.open(clock.clone()).unwrap();
        let app = App::build(settings, Dependencies { clock, store }).unwrap();
        let key = establish(app.sessions(), 0..1, 10).await.remove(0);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, site(&app), std::future::pending(), Duration::ZERO));
        (address, key.expose_cookie_value())
    })
}

/// Sends a request and reads its whole answer, whose body is `ok`.
fn ask(client: &mut TcpStream, request: &[u8]) {
    client.write_all(request).unwrap();
    let mut answer = [0; 4096];
    let mut length = 0;
    while !answer[..length].ends_with(b"\r\n\r\nok") {
        let read = client.read(&mut answer[length..]).unwrap();
        assert!(read > 0, "the connection ended");
        length += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "no success");
}

/// An upstream that answers every request the same; its address.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let (mut head, mut length) = ([0; 8192], 0);
                while let Ok(read @ 1..) = stream.read(&mut head[length..]) {
                    length += read;
                    if head[..length].ends_with(b"\r\n\r\n") {
                        length = 0;
                        stream.write_all(ANSWER).unwrap();
                    }
                }
            });
        }
    });
    address
}
