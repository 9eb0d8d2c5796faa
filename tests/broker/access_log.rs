//! The access log: one line a request, with the person, the size and the outcome.

use std::fmt::Write;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::broker::{KEY, SESSION};
use crate::support::browser::Browser;
use crate::support::child::{PATIENCE, Program, free_port, until};
use crate::support::program::{Folder, counterfoil};
use crate::support::raw::{RawUpstream, read_until};
use crate::support::scripted_idp::ScriptedIdp;

struct Serving {
    program: Program,
    browser: Browser,
    port: u16,
    /// The upstreams, in order.
    upstreams: Vec<RawUpstream>,
    _idp: ScriptedIdp,
    _folder: Folder,
}

/// The real program with upstreams that say these bytes, each behind a path; some hang up then.
async fn serving(upstreams: &[(&str, &str, bool)]) -> Serving {
    let (folder, port) = (Folder::new(), free_port());
    let idp = ScriptedIdp::start(std::sync::Arc::new(counterfoil::clock::SystemClock)).await;
    let (mut routes, mut started) = (String::new(), Vec::new());
    for (path, said, closing) in upstreams {
        let upstream = RawUpstream::saying(said.as_bytes().to_vec(), *closing).await;
        let _ = write!(routes, "[[route]]\npath = \"{path}\"\nupstream = \"http://{}\"\n", upstream.address);
        started.push(upstream);
    }
    let config = format!(
        "public_url = \"http://127.0.0.1:{port}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\n\
         ops_listen = \"127.0.0.1:0\"\nshutdown_timeout = \"2s\"\n[log]\nformat = \"json\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n\
         [idp.company]\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"s\"\n{routes}",
        idp.issuer()
    );
    let file = folder.write("counterfoil.toml", &config);
    let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &file]));
    program.wait_for("an identity provider is ready");
    let browser = Browser::new([]);
    let start = browser.visit(&format!("http://127.0.0.1:{port}/sso/login")).send().await;
    let callback = browser.visit(start.location()).send().await;
    assert_eq!(browser.visit(callback.location()).send().await.status, 303);
    Serving { program, browser, port, upstreams: started, _idp: idp, _folder: folder }
}

fn lines(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// R-O02, R-O04. One line a case: what an upstream says, and what the access line says of it. An answer that breaks off was
/// seen to be a plain 200; the others are the further ways in which one ends.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_leaves_a_line_that_says_who_how_much_and_how_it_ended() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf an answer";
    let serving = serving(&[
        ("/whole", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", true),
        ("/to-the-end", "HTTP/1.1 200 OK\r\n\r\nto the end", true),
        ("/bare", "HTTP/1.1 204 No Content\r\n\r\n", true),
        ("/cut", begun, true),
        ("/cut-chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n5\r\nan", true),
        ("/left", begun, false),
        ("/silent", "", false),
    ])
    .await;
    let base = format!("http://127.0.0.1:{}", serving.port);
    for path in ["/whole", "/to-the-end", "/bare", "/cut", "/cut-chunks"] {
        // What breaks off is an error of the client's, too.
        let _ = serving.browser.fetch(&format!("{base}{path}")).try_send().await;
    }
    assert_eq!(serving.browser.ask(http::Method::HEAD, &format!("{base}/whole/head")).send().await.status, 200);
    assert_eq!(Browser::new([]).fetch(&format!("{base}/whole/stranger")).send().await.status, 401);
    let cookie = serving.browser.cookie("session").or(serving.browser.cookie(SESSION)).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", serving.port)).await.unwrap();
    let asked = format!("GET /left HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: session={cookie}\r\n\r\n", serving.port);
    client.write_all(asked.as_bytes()).await.unwrap();
    read_until(&mut client, "half an answer").await;
    drop(client);
    let until_left = serving.program.wait_for("\"path\":\"/left\"");
    let mut impatient = TcpStream::connect(("127.0.0.1", serving.port)).await.unwrap();
    impatient.write_all(asked.replace("/left", "/silent").as_bytes()).await.unwrap();
    let silent = serving.upstreams.last().unwrap();
    until("the request has come", async || !silent.heads().is_empty()).await;
    drop(impatient);
    let until_left = until_left + &serving.program.wait_for("\"path\":\"/silent\"");
    serving.program.signal("TERM");
    let (_, said) = serving.program.end();
    let lines = lines(&(until_left + &said));
    let line = |path: &str| {
        let found = lines.iter().find(|line| line["message"] == "answered" && line["path"] == path);
        found.unwrap_or_else(|| panic!("no line of {path}: {lines:#?}"))
    };
    for (path, status, bytes, ended) in [
        ("/whole", 200, 5, "complete"),
        ("/to-the-end", 200, 10, "complete"),
        ("/bare", 204, 0, "complete"),
        ("/cut", 200, 14, "by the upstream"),
        ("/cut-chunks", 200, 7, "by the upstream"),
        ("/whole/head", 200, 0, "complete"),
        ("/left", 200, 14, "by the client"),
    ] {
        let line = line(path);
        assert_eq!(
            (&line["status"], &line["bytes"], &line["ended"]),
            (&status.into(), &bytes.into(), &ended.into()),
            "{line}"
        );
        assert_eq!(line["user"], "248289761001", "{line}");
        assert!(
            line["session"].as_str().unwrap().starts_with("cf-")
                && !line["session"].as_str().unwrap().contains(&cookie)
        );
    }
    let silent = line("/silent");
    assert!(silent.get("status").is_none() && silent["ended"] == "by the client", "{silent}");
    let stranger = line("/whole/stranger");
    assert!(stranger["status"] == 401 && stranger["bytes"].as_u64() > Some(0), "{stranger}");
    assert!(stranger.get("user").is_none() && stranger.get("session").is_none(), "{stranger}");
    let warnings: Vec<_> =
        lines.iter().filter(|line| line["message"] == "an upstream ended in the middle of its answer").collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(warnings[0]["level"], "WARN");
    assert_eq!(warnings[0]["span"]["id"], line("/cut")["span"]["id"], "by whose request");
}

/// Why a request was not let in. One line a case; the first was seen to be logged without a word, and the others were found
/// beside it: whatever else is refused before the routes.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_a_request_was_not_let_in() {
    let serving = serving(&[("/", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true)]).await;
    let host = format!("127.0.0.1:{}", serving.port);
    let long = "x".repeat(25_000);
    for (asked, cause) in [
        (
            "GET / HTTP/1.1\r\nHost: backend:8080\r\n".to_owned(),
            "it is for the host backend:8080, and this is 127.0.0.1:",
        ),
        ("GET / HTTP/1.1\r\n".to_owned(), "it is for the host missing, and this is"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nHost: {host}\r\n"), "it is for the host a and 127.0.0.1:"),
        (format!("GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n"), "it names a whole URL (evil.example)"),
        (format!("BREW / HTTP/1.1\r\nHost: {host}\r\n"), "its method is BREW"),
        (format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n"), "its address has 25001 bytes"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\nY: {long}\r\n"), "its header fields have 500"),
        (
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n"),
            "its Transfer-Encoding is gzip, chunked",
        ),
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", serving.port)).await.unwrap();
        client.write_all(format!("{asked}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 "));
        serving.program.wait_for(cause);
    }
}

/// Sends so many anonymous requests on one connection.
async fn ask_as_a_stranger(port: u16, times: usize) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for number in 0..times {
        let asked = format!("GET /stranger/{number} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        client.write_all(asked.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\"login\":").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

/// The paths of anonymous requests that have a line, in order.
fn strangers(said: &str) -> Vec<usize> {
    let paths = lines(said).into_iter().filter(|line| line["message"] == "answered");
    let paths = paths.filter_map(|line| line["path"].as_str()?.strip_prefix("/stranger/")?.parse().ok());
    paths.collect()
}

/// The log is written by a thread of its own: at the end nothing of it is lost, not even the line of a request that is cut
/// off because the grace period is over.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_of_the_log_are_written_before_the_process_ends() {
    let serving =
        serving(&[("/silent", "", false), ("/", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true)]).await;
    let cookie = serving.browser.cookie("session").or(serving.browser.cookie(SESSION)).unwrap();
    let mut waiting = TcpStream::connect(("127.0.0.1", serving.port)).await.unwrap();
    let asked = format!("GET /silent HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: session={cookie}\r\n\r\n", serving.port);
    waiting.write_all(asked.as_bytes()).await.unwrap();
    until("the request has come", async || !serving.upstreams[0].heads().is_empty()).await;
    ask_as_a_stranger(serving.port, 500).await;
    serving.program.signal("TERM");
    let (code, said) = serving.program.end();
    assert_eq!(code, Some(0));
    assert_eq!(strangers(&said), (0..500).collect::<Vec<_>>());
    let last = lines(&said);
    assert!(last.iter().any(|line| line["message"] == "ended"), "{said}");
    assert!(last.iter().any(|line| line["path"] == "/silent" && line["ended"] == "by the client"), "{said}");
}

/// The reader of the log may hang: a pipe of 64 kB is full after some two hundred lines, and more requests than that
/// are answered all the same. Queued lines are written when somebody reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_request() {
    let (folder, port) = (Folder::new(), free_port());
    let config = format!(
        "public_url = \"http://127.0.0.1:{port}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\n\
         ops_listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n\
         [idp.company]\nkind = \"oidc\"\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"backoffice\"\nclient_secret = \"s\"\n\
         [[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n"
    );
    let file = folder.write("counterfoil.toml", &config);
    let mut program = counterfoil(folder.path(), &["serve", "--config", &file]).stderr(Stdio::piped()).spawn().unwrap();
    until("it listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    let answered = tokio::time::timeout(PATIENCE, ask_as_a_stranger(port, 2_000)).await;
    let signalled = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    let mut said = String::new();
    program.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(signalled.success() && program.wait().unwrap().success());
    assert!(answered.is_ok(), "the log held requests up");
    assert_eq!(strangers(&said), (0..2_000).collect::<Vec<_>>());
}
