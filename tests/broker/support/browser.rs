//! A browser: keeps cookies for each party, follows nothing by itself, and tells what it got.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use serde_json::Value;
use url::Url;

/// One person's browser.
#[derive(Clone)]
pub struct Browser {
    client: reqwest::Client,
    /// Names of hosts, and where they really are.
    hosts: Arc<BTreeMap<String, SocketAddr>>,
    jar: Arc<Mutex<Vec<Cookie>>>,
}

#[derive(Clone, Debug)]
pub struct Cookie {
    pub host: String,
    pub path: String,
    pub name: String,
    pub value: String,
    /// `Lax` unless said otherwise, as browsers have it.
    pub same_site: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The token against forgery (CSRF) in the form of a page.
    pub fn csrf_token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf_token\" value=\"").unwrap_or_else(|| panic!("{}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Where the first form on a page is sent, and what its fields say.
    pub fn form(&self) -> (String, Vec<(String, String)>) {
        let attribute = |tag: &str, name: &str| {
            let (_, rest) = tag.split('>').next().unwrap().split_once(&format!(" {name}=\""))?;
            Some(rest.split('"').next().unwrap().replace("&#38;", "&").replace("&#61;", "="))
        };
        let tags = self.body.split("<input").skip(1);
        let fields = tags.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect();
        let (_, form) = self.body.split_once("<form").unwrap_or_else(|| panic!("{}", self.body));
        (attribute(form, "action").unwrap(), fields)
    }

    /// The machine-readable reason of a problem document.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request in the making.
pub struct Asking {
    browser: Browser,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
    sent_by_another_site: bool,
}

impl Browser {
    /// A fresh profile that knows where these hosts are.
    pub fn new(hosts: impl IntoIterator<Item = (String, SocketAddr)>) -> Self {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .timeout(super::child::PATIENCE)
            .build()
            .unwrap();
        Self { client, hosts: Arc::new(hosts.into_iter().collect()), jar: Arc::default() }
    }

    /// A fresh profile that reaches one host by TLS, believes one authority (PEM), and all others as they are named.
    pub fn by_tls(host: &str, address: SocketAddr, authority: &[u8]) -> Self {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .timeout(super::child::PATIENCE)
            .resolve(host, address)
            .tls_certs_only([reqwest::Certificate::from_pem(authority).unwrap()])
            .build()
            .unwrap();
        Self { client, hosts: Arc::default(), jar: Arc::default() }
    }

    /// A person going to a page.
    pub fn visit(&self, url: &str) -> Asking {
        let asking = self.ask(Method::GET, url);
        asking.header("accept", "text/html").header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document")
    }

    /// A script or program asking.
    pub fn fetch(&self, url: &str) -> Asking {
        self.ask(Method::GET, url).header("accept", "application/json").header("sec-fetch-mode", "cors")
    }

    /// Asks the broker for a path, as a script does.
    pub async fn get(&self, path: &str) -> Answer {
        self.fetch(&format!("{}{path}", super::broker::PUBLIC)).send().await
    }

    /// One's own session, as the broker tells it.
    pub async fn session(&self) -> Value {
        self.get("/sso/session").await.json()
    }

    /// A form being sent.
    pub fn submit(&self, url: &str, fields: &[(&str, &str)]) -> Asking {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let asking = self.ask(Method::POST, url).header("content-type", "application/x-www-form-urlencoded");
        let mut asking = asking.header("accept", "text/html").header("sec-fetch-mode", "navigate");
        asking.body = Some(body);
        asking
    }

    pub fn ask(&self, method: Method, url: &str) -> Asking {
        let url = Url::parse(url).unwrap();
        Asking {
            browser: self.clone(),
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            sent_by_another_site: false,
        }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies().into_iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value)
    }

    pub fn cookies(&self) -> Vec<Cookie> {
        self.jar.lock().unwrap().clone()
    }

    /// Puts a cookie into the jar, as a neighbour or an attacker might.
    pub fn plant(&self, host: &str, name: &str, value: &str) {
        let (host, name, value) = (host.to_owned(), name.to_owned(), value.to_owned());
        self.jar.lock().unwrap().push(Cookie { host, path: "/".into(), name, value, same_site: "Lax".into() });
    }

    /// Takes over the cookies of another.
    pub fn take_cookies_of(&self, other: &Self) {
        self.jar.lock().unwrap().extend(other.cookies());
    }

    /// Forgets a cookie, as if it had never been kept.
    pub fn forget(&self, name: &str) {
        self.jar.lock().unwrap().retain(|cookie| cookie.name != name);
    }

    /// Forgets every cookie.
    pub fn clear(&self) {
        self.jar.lock().unwrap().clear();
    }

    /// The same browser under another hat: a copy of the jar, apart from then on.
    pub fn copy(&self) -> Self {
        Self { jar: Arc::new(Mutex::new(self.cookies())), ..self.clone() }
    }

    /// What comes along with a request: of another site's form nothing but what says so (`SameSite=None`).
    fn cookie_header(&self, url: &Url, foreign_form: bool) -> Option<String> {
        let fits = |cookie: &&Cookie| {
            let comes_along = !foreign_form || cookie.same_site.eq_ignore_ascii_case("None");
            cookie.host == authority(url) && url.path().starts_with(&cookie.path) && comes_along
        };
        let pairs: Vec<_> =
            self.cookies().iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&self, url: &Url, answer: &Answer) {
        let mut jar = self.jar.lock().unwrap();
        for set in answer.set_cookies() {
            let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let attribute = |wanted: &str| {
                attributes.split(';').map(str::trim).find_map(|attribute| {
                    let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
                    name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
                })
            };
            let path = attribute("path").unwrap_or_else(|| "/".into());
            jar.retain(|known| !(known.host == authority(url) && known.name == name && known.path == path));
            let expired = attribute("expires").is_some_and(|date| date.contains("1970"));
            if attribute("max-age").as_deref() != Some("0") && !expired {
                let same_site = attribute("samesite").unwrap_or_else(|| "Lax".into());
                let secure = same_site != "None" || attribute("secure").is_some();
                assert!(secure, "browsers refuse SameSite=None without Secure: {set}");
                jar.push(Cookie { host: authority(url), path, name: name.into(), value: value.into(), same_site });
            }
        }
    }
}

impl Asking {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// The request is another site's doing: a form there, a link.
    pub fn sent_by_another_site(mut self) -> Self {
        self.sent_by_another_site = true;
        self.header("sec-fetch-site", "cross-site").header("origin", "https://idp.example.test")
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// Sends it; `Err` if there is no answer.
    pub async fn try_send(mut self) -> reqwest::Result<Answer> {
        let url = self.url.clone();
        if let Some(cookies) = self.browser.cookie_header(&url, self.sent_by_another_site && self.method != Method::GET)
            && !self.headers.contains_key(COOKIE)
        {
            self = self.header("cookie", &cookies);
        }
        let address = self.browser.hosts.get(&authority(&url)).copied();
        let mut target = url.clone();
        if let Some(address) = address {
            // `set_scheme` refuses to leave https, so the address is written anew.
            let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
            target = Url::parse(&format!("http://{address}{path}")).unwrap();
            if !self.headers.contains_key(HOST) {
                self = self.header("host", &authority(&url));
            }
        }
        let request = self.browser.client.request(self.method, target).headers(self.headers);
        let request = match self.body {
            Some(body) => request.body(body),
            None => request,
        };
        let received = request.send().await?;
        let (status, headers) = (received.status(), received.headers().clone());
        let answer = Answer { status, headers, body: received.text().await? };
        self.browser.keep(&url, &answer);
        Ok(answer)
    }
}

/// The parameters of an address, none of which may stand there twice.
pub fn parameters(address: &str) -> HashMap<String, String> {
    let pairs: Vec<_> = Url::parse(address).unwrap().query_pairs().into_owned().collect();
    let parameters: HashMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(parameters.len(), pairs.len(), "{address}");
    parameters
}

/// Host and port as in a `Host` header.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
