//! Answers to the browser that are signed (JARM).

use serde_json::{Value, json};

use crate::support::broker::{Broker, PUBLIC, Setup};
use crate::support::scripted_idp::{Script, set};
use crate::support::witness::Witness;

async fn signing(idp: &str) -> Broker {
    Broker::with(Setup { idp: idp.to_owned(), ..Setup::default() }).await
}

#[tokio::test]
async fn a_signed_answer_signs_in_however_it_is_brought() {
    for mode in ["jwt", "query.jwt"] {
        let broker = signing(&format!("response_mode = \"{mode}\"")).await;
        let browser = broker.browser();
        let callback = broker.reach_callback(&browser, "/orders").await;
        assert!(callback.contains("?response=ey") && !callback.contains("code="), "{callback}");
        // What stands outside counts for nothing.
        let landed = browser.visit(&format!("{callback}&error=access_denied&iss=x&foo=bar")).send().await;
        assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"), "{mode}");
    }
    let broker = signing("response_mode = \"form_post.jwt\"").await;
    let browser = broker.browser();
    let (address, fields) = broker.reach_form(&browser, "/orders").await;
    let landed = browser.submit(&address, &[("response", &fields[0].1)]).sent_by_another_site().send().await;
    assert_eq!((landed.status.as_u16(), landed.location()), (303, "/orders"));
}

/// R-D13 and JARM 2.4: one line a case: what is changed, what comes of it.
#[tokio::test]
async fn a_signed_answer_that_is_not_right_signs_nobody_in() {
    let broker = signing("response_mode = \"jwt\"").await;
    let now = counterfoil::clock::Clock::now(&*broker.clock).unix_timestamp();
    let none = json!({});
    for (header, claims, status) in [
        (json!({ "alg": "none" }), none.clone(), 400),
        (json!({ "alg": "HS256" }), none.clone(), 400),
        (json!({ "alg": "PS256" }), none.clone(), 400),
        (json!({ "typ": "logout+jwt" }), none.clone(), 400),
        (json!({ "crit": ["exp"] }), none.clone(), 400),
        (json!({ "kid": "unknown" }), none.clone(), 400),
        (none.clone(), json!({ "iss": "https://evil.example" }), 400),
        (none.clone(), json!({ "iss": null }), 400),
        (none.clone(), json!({ "aud": "other" }), 400),
        (none.clone(), json!({ "aud": null }), 400),
        (none.clone(), json!({ "exp": null }), 400),
        (none.clone(), json!({ "exp": (now + 60).to_string() }), 400),
        (none.clone(), json!({ "exp": now - 61 }), 400),
        (none.clone(), json!({ "nbf": now + 600 }), 502),
        (none.clone(), json!({ "code": 7 }), 400),
        (none.clone(), json!({ "code": null }), 400),
        (none.clone(), json!({ "code": null, "error": "access_denied" }), 403),
        (none.clone(), json!({ "code": null, "error": "temporarily_unavailable" }), 400),
        (none.clone(), json!({ "state": "another" }), 400),
        (none.clone(), json!({ "state": null }), 400),
        (none.clone(), json!({ "state": 1 }), 400),
    ] {
        let script =
            Script { response_header: set(header.clone()), response_claims: set(claims.clone()), ..Script::default() };
        broker.idp.behave(script);
        let landed = broker.sign_in(&broker.browser(), "/").await;
        assert_eq!(landed.status, status, "{header} {claims}");
    }
    // The keys were fetched again for the unknown one: what comes within ten seconds of that is put off.
    broker.clock.advance(time::Duration::seconds(10));
    broker.idp.behave(Script { foreign_key: true, ..Script::default() });
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 400, "another key");
    assert!(broker.idp.received("/token").is_empty(), "no token request may be made");
    broker.idp.behave(Script::default());
    assert_eq!(broker.sign_in(&broker.browser(), "/").await.status, 303);
}

/// R-O02: one line a signed answer, its status, and what the log says of it, at INFO: it is the browser that brought it.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_or_unverifiable_signed_answer_is_no_fault_of_the_provider() {
    let witness = Witness::start("response_mode = \"jwt\"", Script::default()).await;
    let forged = || Script { response_header: set(json!({ "kid": "unknown" })), ..Script::default() };
    for (script, status, written) in [
        (Script { response_claims: set(json!({ "exp": 1 })), ..Script::default() }, 400, "kind=LoginExpired"),
        (forged(), 400, "kind=AnswerRefused"),
        (forged(), 503, "kind=AnswerUnjudged"),
    ] {
        witness.idp.behave(script);
        assert_eq!(witness.sign_in().await.status, status, "{written}");
        let said = witness.program.wait_for(written);
        let line = said.lines().find(|line| line.contains(written)).unwrap();
        assert!(line.contains(" INFO ") && line.contains("blame=Browser"), "{line}");
    }
}

/// One line a case: at a provider set to JARM nothing unsigned counts, and at others no token.
#[tokio::test]
async fn what_is_not_signed_is_refused_where_answers_are_signed() {
    let broker = signing("response_mode = \"jwt\"").await;
    let browser = broker.browser();
    let start = browser.visit(&format!("{PUBLIC}/sso/login")).send().await;
    let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let iss = broker.idp.issuer();
    let signed = browser.visit(start.location()).send().await.location().to_owned();
    let token = signed.split_once("response=").unwrap().1;
    for query in [
        format!("code=x&state={state}&iss={iss}"),
        format!("error=access_denied&state={state}&iss={iss}"),
        format!("response=&state={state}"),
        format!("response={state}&state={state}"),
        format!("response={token}&response={token}"),
    ] {
        let answer = browser.visit(&format!("{PUBLIC}/sso/callback/company?{query}")).send().await;
        assert_eq!(answer.status, 400, "{query}");
    }
    assert_eq!(browser.visit(&signed).send().await.status, 303, "the login itself is not disturbed");

    let plain = Broker::start().await;
    let answer = plain.browser().visit(&format!("{PUBLIC}/sso/callback/company?response={token}")).send().await;
    assert_eq!(answer.status, 400);
}

/// JARM 2.3: one line a case: what is asked for, what comes instead, and what is said about it. Found by asking each mode
/// and answering in every other.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_another_response_mode_is_reported() {
    let unsigned = "the answer is not signed although response_mode asks for it";
    for (asked, comes, written) in [
        ("jwt", "code=x&state=STATE", unsigned),
        ("query.jwt", "error=access_denied&state=STATE", unsigned),
        ("query", "response=a.b.c", "the answer is signed although response_mode does not ask for it"),
    ] {
        let witness = Witness::start(&format!("response_mode = \"{asked}\""), Script::default()).await;
        let start = witness.browser.visit(&format!("{}/sso/login", witness.public)).send().await;
        let state = start.location().split("state=").nth(1).unwrap().split('&').next().unwrap();
        let query = comes.replace("STATE", state);
        let page = witness.browser.visit(&format!("{}/sso/callback/company?{query}", witness.public)).send().await;
        assert_eq!(page.status, 400, "{asked} {comes}");
        assert!(page.body.contains("answered in another form"), "{}", page.body);
        let said = witness.program.wait_for(written);
        assert!(said.lines().last().unwrap().contains(" INFO "), "{said}");
    }
    // Forms need a broker with https.
    for (asked, by_form, status) in
        [("form_post.jwt", true, 400), ("form_post.jwt", false, 405), ("form_post", false, 405), ("query", true, 405)]
    {
        let broker = signing(&format!("response_mode = \"{asked}\"")).await;
        let (browser, callback) = (broker.browser(), format!("{PUBLIC}/sso/callback/company"));
        let answer = if by_form {
            browser.submit(&callback, &[("code", "x"), ("state", "x")]).sent_by_another_site().send().await
        } else {
            browser.visit(&format!("{callback}?code=x&state=x")).send().await
        };
        assert_eq!(answer.status, status, "{asked}");
        assert_eq!(answer.body.contains("answered in another form"), status == 400, "{}", answer.body);
    }
}

/// The algorithm of answers may be another than that of ID tokens.
#[tokio::test]
async fn answers_have_an_algorithm_of_their_own() {
    let broker = signing("response_mode = \"jwt\"\nauthorization_signed_response_alg = \"ES256\"").await;
    let refused = broker.sign_in(&broker.browser(), "/").await;
    assert_eq!(refused.status, 400, "signed with RS256");
    let browser = broker.browser();
    broker.idp.behave(Script { signing: jsonwebtoken::Algorithm::ES256, ..Script::default() });
    let callback = broker.reach_callback(&browser, "/").await;
    broker.idp.behave(Script { jwks: merged_keys(&broker).await, ..Script::default() });
    assert_eq!(browser.visit(&callback).send().await.status, 303);
}

/// The keys of both algorithms, as a provider that uses both publishes them.
async fn merged_keys(broker: &Broker) -> Option<std::sync::Arc<dyn Fn(&mut Value) + Send + Sync>> {
    let keys = broker.browser().fetch(&format!("{}/jwks", broker.idp.issuer())).send().await.json();
    crate::support::scripted_idp::change(move |document| {
        document["keys"].as_array_mut().unwrap().extend(keys["keys"].as_array().unwrap().clone());
    })
}
