//! The system's certificate authorities are needed where HTTPS is used, and nowhere else.

use std::sync::Arc;

use counterfoil::clock::SystemClock;

use crate::support::broker::KEY;
use crate::support::child::{Program, free_ports};
use crate::support::program::{Folder, counterfoil, run};
use crate::support::redis::Redis;
use crate::support::redis_tls::RedisTls;
use crate::support::scripted_idp::ScriptedIdp;
use crate::support::upstream;

fn without_authorities(folder: &Folder, arguments: &[&str]) -> std::process::Command {
    let mut command = counterfoil(folder.path(), arguments);
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    command
}

/// One line a user of TLS: upstreams, providers, Redis; found by looking for whoever reads the system's bundle.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_authorities_serves_all_that_is_plain_and_says_what_is_not() {
    let (folder, redis) = (Folder::new(), Redis::start());
    let idp = ScriptedIdp::start(Arc::new(SystemClock)).await;
    let config = |store: &str, issuer: &str, upstream: &str| {
        let [port, operations] = free_ports();
        format!(
            "public_url = \"https://app.example.test\"\n[server]\nlisten = \"127.0.0.1:{port}\"\n\
             ops_listen = \"127.0.0.1:{operations}\"\n[secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"{store}\"\n\
             [idp.company]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"backoffice\"\nclient_secret = \"x\"\n\
             [[route]]\npath = \"/\"\nupstream = \"{upstream}\"\n"
        )
    };
    let plain_upstream = &format!("http://{}", upstream::start().await);
    let (plain_redis, plain_idp) = (redis.url(), idp.issuer());

    // Also where an authority is named: nobody asks for the others then.
    let tls = RedisTls::shared();
    let secure_redis = format!("{}\"\nca_file = \"{}", tls.settings().url.expose(), tls.authority());
    for store in [&plain_redis, &secure_redis] {
        let file = folder.write("plain.toml", &config(store, &plain_idp, plain_upstream));
        let program = Program::start(&mut without_authorities(&folder, &["serve", "--config", &file]));
        program.wait_for("an identity provider is ready");
        program.signal("TERM");
        assert_eq!(program.end().0, Some(0));
        let (code, said, errors) = run(without_authorities(&folder, &["check", "--config", &file]));
        assert_eq!(code, Some(0), "{said}{errors}");
    }

    let secure_provider = config(&plain_redis, "https://127.0.0.1:1", plain_upstream);
    let file = folder.write("provider.toml", &secure_provider);
    let (code, said, _) = run(without_authorities(&folder, &["check", "--config", &file]));
    assert_eq!(code, Some(1));
    assert!(said.contains("certificate authorities") && said.contains("ca-certificates"), "{said}");

    for (what, text, named) in [
        ("an upstream", config(&plain_redis, &plain_idp, "https://127.0.0.1:1"), "upstreams"),
        ("Redis", config("rediss://127.0.0.1:1/0", &plain_idp, plain_upstream), "certificate authority"),
    ] {
        let file = folder.write("secure.toml", &text);
        let (code, said, errors) = run(without_authorities(&folder, &["serve", "--config", &file]));
        assert_eq!(code, Some(1), "{what}: {said}{errors}");
        assert!(errors.contains(named), "{what}: {errors}");
    }
}
