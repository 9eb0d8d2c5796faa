//! Providers that others wrote, each a program of `tests/counterparts`, on loopback for as long as its test.

use std::process::Command;

use serde_json::{Value, json};

use super::broker::{Broker, HOST, PUBLIC};
use super::browser::{Answer, Browser};
use super::child::Program;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counterparts");
/// Most addresses that a person is led to before they are back.
const LONGEST_WALK: usize = 12;

/// A provider that is not ours.
pub struct Counterpart {
    _program: Program,
    ready: Value,
}

impl Counterpart {
    /// The certified `oidc-provider` with one client, which is us; `options` are those of `oidc_provider.mjs`.
    pub fn certified(options: Value) -> Self {
        let mut all = json!({
            "client_id": "backoffice", "client_secret": "p@ss:w%rd+/=~",
            "redirect_uris": [callback("certified")], "post_logout_redirect_uris": [format!("{PUBLIC}/sso/signed-out")],
        });
        let Value::Object(options) = options else { panic!("options are an object") };
        all.as_object_mut().unwrap().extend(options);
        Self::start(Command::new("node").arg(format!("{FOLDER}/oidc_provider.mjs")).arg(all.to_string()))
    }

    /// A provider in Python, with the packages of `requirements.txt`.
    pub fn in_python(script: &str, options: &Value) -> Self {
        let python = format!("{FOLDER}/.venv/bin/python");
        Self::start(Command::new(python).arg(format!("{FOLDER}/{script}")).arg(options.to_string()))
    }

    fn start(command: &mut Command) -> Self {
        let program = Program::start(command);
        let said = program.wait_for("READY");
        let ready = said.split_once("READY ").unwrap().1.lines().next().unwrap();
        Self { ready: serde_json::from_str(ready).unwrap(), _program: program }
    }

    /// What it said when it was ready.
    pub fn told(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// Tells it where the broker really listens, so that it can call.
    pub async fn can_reach(&self, broker: &Broker) {
        self.control("/hosts", &json!({ HOST: broker.address.to_string() })).await;
    }

    /// Asks the certified provider's control port to do something.
    pub async fn control(&self, path: &str, body: &Value) -> Value {
        let address = format!("{}{path}", self.told("control"));
        let asked = nobody().ask(http::Method::POST, &address).body(&body.to_string()).send().await;
        assert_eq!(asked.status, 200, "{path}: {}", asked.body);
        asked.json()
    }

    /// What arrived at a path, in the order of arrival.
    pub async fn received(&self, path: &str) -> Vec<Value> {
        let log = self.ready.get("control").or(self.ready.get("base")).or(self.ready.get("issuer")).unwrap();
        let log = nobody().fetch(&format!("{}/log", log.as_str().unwrap())).send().await.json();
        log.as_array().unwrap().iter().filter(|entry| entry["path"] == path).cloned().collect()
    }
}

/// The redirect URI of a provider with this name.
pub fn callback(name: &str) -> String {
    format!("{PUBLIC}/sso/callback/{name}")
}

/// Signs somebody in through the pages of the certified provider; the broker's answer to the callback.
pub async fn sign_in(browser: &Browser, idp: &str, return_to: &str) -> Answer {
    let start = browser.visit(&format!("{PUBLIC}/sso/login?idp={idp}&return_to={return_to}")).send().await;
    assert_eq!(start.status, 303, "{}", start.body);
    follow(browser, start.location()).await
}

/// Follows a provider's redirects and fills in its forms (first who, then the consent) until the broker answers.
pub async fn follow(browser: &Browser, start: &str) -> Answer {
    follow_as(browser, start, "alice", "x").await
}

/// The same as somebody else.
pub async fn follow_as(browser: &Browser, start: &str, name: &str, password: &str) -> Answer {
    follow_back_to(PUBLIC, browser, start, name, password).await
}

/// The same for a broker that browsers know under another address.
pub async fn follow_back_to(public: &str, browser: &Browser, start: &str, name: &str, password: &str) -> Answer {
    let (mut location, mut answered) = (start.to_owned(), None);
    for _ in 0..LONGEST_WALK {
        // A form that answers a form is filled in as it came.
        let (status, shown, mut next) = if let Some(form) = answered.take() {
            (http::StatusCode::OK, form, String::new())
        } else {
            let page = browser.visit(&location).send().await;
            if location.starts_with(public) {
                return page;
            }
            (page.status, page.body.clone(), page.location().to_owned())
        };
        if status == 200 {
            let (target, fields) = form(&shown, name, password);
            let target = if target.is_empty() { location.clone() } else { absolute(&location, &target) };
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let asking = browser.submit(&target, &fields);
            if target.starts_with(public) {
                return asking.sent_by_another_site().send().await;
            }
            let sent = asking.header("sec-fetch-site", "cross-site").send().await;
            sent.location().clone_into(&mut next);
            if sent.status == 200 {
                (location, answered) = (target, Some(sent.body));
                continue;
            }
        }
        assert!(!next.is_empty(), "{location} leads nowhere: {status} {shown}");
        location = absolute(&location, &next);
    }
    panic!("the provider never sent the browser back, but to {location}");
}

fn absolute(base: &str, target: &str) -> String {
    url::Url::parse(base).unwrap().join(target).unwrap().into()
}

/// The first form of a page, as somebody fills it in: its target, empty if it is the page itself, and its fields.
fn form(page: &str, person: &str, password: &str) -> (String, Vec<(String, String)>) {
    // Some write their tags in capitals.
    let tags = ["<form", "</form", "<input", " action=", " name=", " value="];
    let page = tags.iter().fold(page.to_owned(), |page, tag| page.replace(&tag.to_uppercase(), tag));
    let form = between(&page, "<form", "</form>");
    let target = attribute(form.split_once('>').unwrap().0, "action").unwrap_or_default();
    let inputs = form.split("<input").skip(1);
    let fields = inputs.filter_map(|input| {
        let input = input.split_once('>').unwrap().0;
        let name = attribute(input, "name")?;
        let value = match name.as_str() {
            "login" | "account" | "username" => person.to_owned(),
            "password" => password.to_owned(),
            _ => attribute(input, "value").unwrap_or_default(),
        };
        Some((name, value))
    });
    (target, fields.collect())
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let value = rest.split_once('"')?.0;
    Some(value.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&amp;", "&"))
}

/// What stands between two texts.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}")).1;
    rest.split_once(after).unwrap().0
}

fn nobody() -> Browser {
    Browser::new([])
}
