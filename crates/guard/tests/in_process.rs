//! A guard in front of an application of the same process: what the application gets to see is what was judged, and its
//! answers stay out of shared caches.

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use counterfoil_guard::testing::{Site, guarded};
use counterfoil_guard::{AccessRule, Identity};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{StatusCode, Version};

async fn text(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A page for everybody, and a private one for every other path; each says what it was asked for.
fn with_a_public_page() -> Site {
    let said = |page: &'static str| {
        async move |OriginalUri(original): OriginalUri, request: Request| {
            assert_eq!(original, *request.uri());
            format!("{page} {}", request.uri())
        }
    };
    let app = Router::new().route("/public/{*rest}", get(said("public"))).fallback(said("private"));
    guarded(app, |guard| guard.public("/public").rule("/", AccessRule::signed_in()))
}

/// R-I04: what the application matches is the very string that was judged. One line a spelling of a public path; another
/// one would lead a stranger to the private page.
#[tokio::test]
async fn an_application_sees_the_spelling_that_was_judged() {
    let site = with_a_public_page();
    for (asked, seen) in [
        ("/public/x", Some("/public/x")),
        ("/%70ublic/x", Some("/public/x")),
        ("/p%75blic/%78?a=%70", Some("/public/x?a=%70")),
        ("/public/caf%C3%A9/%7Euser", Some("/public/caf%C3%A9/%7Euser")),
        ("/public/caf%C3%A9", Some("/public/caf%C3%A9")),
        ("/%2570ublic/x", None),
        ("/PUBLIC/x", None),
        ("/public%2Fx", None),
        ("/x/../public/x", None),
        ("/(S(x))/public/x", None),
    ] {
        let (status, said) = text(site.get(asked).await).await;
        match seen {
            Some(seen) => assert_eq!((status, said), (StatusCode::OK, format!("public {seen}")), "{asked}"),
            None => assert_eq!(status, StatusCode::BAD_REQUEST, "{asked}: {said}"),
        }
    }
    let (status, said) = text(site.signed_in(Identity::named("alice")).await.get("/%6Frders?x").await).await;
    assert_eq!((status, said), (StatusCode::OK, "private /%6Frders?x".to_owned()), "every reading is of one rule");
}

/// RFC 9113 8.3.1
#[tokio::test]
async fn http_2_is_judged_by_its_path() {
    let site = with_a_public_page();
    for (version, uri, expected) in [
        (Version::HTTP_2, "https://site.example.test/public/x", StatusCode::OK),
        (Version::HTTP_2, "https://site.example.test/%70ublic/x", StatusCode::OK),
        (Version::HTTP_2, "https://site.example.test/orders", StatusCode::UNAUTHORIZED),
        (Version::HTTP_11, "https://site.example.test/public/x", StatusCode::BAD_REQUEST),
    ] {
        let request = Request::get(uri).version(version).body(Body::empty()).unwrap();
        let (status, said) = text(site.stranger().send(request).await).await;
        assert_eq!(status, expected, "{version:?} {uri}: {said}");
    }
}

/// Below `Router::nest`, `/admin/keys` arrives as `/keys`, which another rule covers.
#[tokio::test]
async fn a_nested_guard_refuses_everything() {
    let rules = |inner: Router| {
        let site = guarded(inner, |guard| guard.rule("/admin/keys", AccessRule::any_group(["security"])).public("/"));
        Router::new().nest_service("/admin", site.app())
    };
    let app = rules(Router::new().route("/keys", get(async || "the keys")));
    let request = Request::get("/admin/keys").body(Body::empty()).unwrap();
    let Ok(response) = tower::ServiceExt::oneshot(app, request).await;
    let (status, said) = text(response).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(said.contains("Router::nest"), "{said}");
}

/// R-K11: one line a page, what it says itself, and what a stranger and a signed-in person get.
#[tokio::test]
async fn answers_of_an_application_stay_out_of_shared_caches() {
    let app = Router::new()
        .route("/report", get(async || "a report"))
        .route("/style", get(async || ([(CONTENT_TYPE, "text/css")], "p {}")))
        .route("/shared", get(async || ([(CACHE_CONTROL, "public, max-age=60")], "for everybody")))
        .route("/own", get(async || ([(CACHE_CONTROL, "private, max-age=60")], "for one")))
        .route("/edge", get(async || ([("surrogate-control", "max-age=60")], "for a CDN").into_response()))
        .route("/edge-news", get(async || ([("surrogate-control", "max-age=60")], "some news")))
        .route("/news", get(async || "some news"));
    let site = guarded(app, |guard| guard.public("/news").public("/edge-news").rule("/", AccessRule::signed_in()));
    let (alice, stranger) = (site.signed_in(Identity::named("alice")).await, site.stranger());
    for (path, to_alice, to_strangers) in [
        ("/report", "no-store", Some("no-store")),
        ("/style", "private", Some("no-store")),
        ("/shared", "private, max-age=60", Some("no-store")),
        ("/own", "private, max-age=60", Some("no-store")),
        ("/edge", "no-store", Some("no-store")),
        ("/news", "private", None),
        ("/edge-news", "private", None),
    ] {
        let answer = alice.get(path).await;
        assert_eq!(answer.headers()[CACHE_CONTROL], to_alice, "{path}");
        assert!(!answer.headers().contains_key("surrogate-control"), "{path}");
        let answer = stranger.get(path).await;
        let said = answer.headers().get(CACHE_CONTROL).map(|value| value.to_str().unwrap());
        assert_eq!(said, to_strangers, "{path}");
    }
}
