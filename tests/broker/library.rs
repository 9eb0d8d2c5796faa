//! The guard in an application that knows nothing of the broker: its example, over real connections, with a real Redis.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};

use crate::support::broker::KEY;
use crate::support::redis::Redis;

#[path = "../../examples/office.rs"]
#[allow(dead_code, reason = "its own main is not run here")]
mod office;

/// The running example, and a client that follows nothing.
struct Office {
    address: String,
    http: reqwest::Client,
}

/// An answer, as far as it is looked at.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    /// Where it leads.
    location: String,
    /// The session's cookie that it sets, as it is sent back.
    cookie: String,
    /// The code of a problem document.
    code: String,
    text: String,
}

impl Office {
    async fn open(redis: &Redis) -> Self {
        let site = office::site(&redis.url(), KEY).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, site).await });
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, http }
    }

    async fn ask(&self, method: Method, path: &str, more: &[(http::HeaderName, &str)], body: &'static str) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.address)).body(body);
        for (name, value) in more {
            request = request.header(name, *value);
        }
        let answer = request.send().await.unwrap();
        let header = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (status, location, is_problem) =
            (answer.status(), header(LOCATION), header(CONTENT_TYPE) == "application/problem+json");
        let cookie = header(SET_COOKIE).split(';').next().unwrap().to_owned();
        assert!(cookie.is_empty() || header(CACHE_CONTROL) == "no-store", "no cache keeps a session");
        let text = answer.text().await.unwrap();
        let problem: serde_json::Value =
            if is_problem { serde_json::from_str(&text).unwrap() } else { serde_json::Value::Null };
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        Answer { status, location, cookie, code, text }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Method::GET, path, &[(COOKIE, cookie)], "").await
    }

    async fn sign_in(&self, form: &'static str) -> Answer {
        let form_type = (CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(Method::POST, "/login", &[form_type], form).await
    }
}

#[tokio::test]
async fn an_application_signs_its_people_in_guards_its_pages_and_ends_their_sessions() {
    let redis = Redis::start();
    let office = Office::open(&redis).await;
    let status_and_code = |answer: Answer| (answer.status.as_u16(), answer.code);

    // Strangers: programs get 401, people are led to the login, public pages know neither.
    assert_eq!(status_and_code(office.get("/", "").await), (401, "session_missing".into()));
    let page = office.ask(Method::GET, "/finance?y=1", &[(http::header::ACCEPT, "text/html")], "").await;
    assert_eq!((page.status.as_u16(), &*page.location), (303, "/login?return_to=%2Ffinance%3Fy%3D1"));
    assert_eq!(office.get("/news", "").await.text, "some news");
    assert_eq!(status_and_code(office.sign_in("name=alice&password=x").await), (401, "login_failed".into()));

    // Signed in.
    let signed_in = office.sign_in("name=alice&password=wonderland").await;
    assert_eq!((signed_in.status.as_u16(), &*signed_in.location), (303, "/"), "{signed_in:?}");
    let alice = signed_in.cookie;
    assert!(alice.starts_with("session=") && alice.len() > 50, "{alice}");
    assert_eq!(office.get("/", &alice).await.text, "Hello alice");
    assert_eq!(office.get("/news", &alice).await.text, "all news");
    assert_eq!(office.get("/finance", &alice).await.text, "the books");
    let revoke =
        async |cookie: &str| office.ask(Method::DELETE, "/people/alice/sessions", &[(COOKIE, cookie)], "").await;
    assert_eq!(status_and_code(revoke(&alice).await), (403, "forbidden".into()));

    // A second login in the same browser ends the first session.
    let headers = [(COOKIE, &*alice), (CONTENT_TYPE, "application/x-www-form-urlencoded")];
    let again = office.ask(Method::POST, "/login", &headers, "name=alice&password=wonderland").await.cookie;
    assert_eq!(office.get("/", &alice).await.status, 401);
    assert_eq!(office.get("/", &again).await.status, 200);

    // Revoked by somebody who may.
    let mallory = office.sign_in("name=mallory&password=keys").await.cookie;
    assert_eq!(status_and_code(office.get("/finance", &mallory).await), (403, "forbidden".into()));
    assert_eq!(revoke(&mallory).await.text, "1 sessions ended");
    assert_eq!(status_and_code(office.get("/", &again).await), (401, "session_revoked".into()));
    assert_eq!(office.get("/news", &again).await.text, "some news");

    // Signed out; not by another site's form.
    let foreign = [(COOKIE, &*mallory), (http::HeaderName::from_static("sec-fetch-site"), "cross-site")];
    assert_eq!(office.ask(Method::POST, "/logout", &foreign, "").await.status, 403);
    assert_eq!(office.get("/", &mallory).await.status, 200);
    let signed_out = office.ask(Method::POST, "/logout", &[(COOKIE, &mallory)], "").await;
    assert_eq!((signed_out.status.as_u16(), &*signed_out.location, &*signed_out.cookie), (303, "/news", "session="));
    assert_eq!(office.get("/", &mallory).await.status, 401);
}
