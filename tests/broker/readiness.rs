//! What `/readyz` says of the providers: how each of them is, not how it once was. Found by taking a provider away; the members
//! beside it by looking for every way in which a document cannot be had.

use crate::support::broker::{Broker, Setup};
use crate::support::browser::Browser;
use crate::support::child::until;
use crate::support::scripted_idp::ScriptedIdp;

#[tokio::test]
async fn readiness_tells_how_each_provider_is() {
    let setup = Setup::default();
    let idp = ScriptedIdp::start(setup.clock.clone()).await;
    let provider = |name: &str, issuer: &str| {
        format!("[idp.{name}]\nkind = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"b\"\nclient_secret = \"x\"\n")
    };
    let more = [
        provider("away", "http://127.0.0.1:1"),
        provider("missing", &format!("{}/nothing", idp.issuer())),
        // Another name of the same, by which its metadata does not call it.
        provider("another", &idp.issuer().replace("127.0.0.1", "localhost")),
    ];
    let broker = Broker::with_provider(Setup { more: more.concat(), ..setup }, idp).await;
    broker.app.probe_providers();
    let operations = Browser::new([("ops".to_owned(), broker.operations)]);
    let expected = [("company", "ok"), ("away", "unreachable"), ("missing", "faulty"), ("another", "faulty")];
    until("each is told from the others", async || {
        let idps = operations.fetch("http://ops/readyz").send().await.json()["idps"].clone();
        expected.iter().all(|(name, health)| idps[*name] == *health)
    })
    .await;
}
