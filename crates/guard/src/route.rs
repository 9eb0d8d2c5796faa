//! The routes of the configuration: first match by path and method, nothing else of a request counts (R-I05), and only
//! where every reading of the path leads to the same rule (R-I04).

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use time::Duration;

use super::access::AccessRule;
use super::broker_paths::BrokerPaths;
use super::methods::{MethodRule, allow};
pub use super::path_rule::{InvalidPathRule, PathRule};
use super::reading::{is_plain, readings};
use super::request_target::{InvalidTarget, check_characters, written_plainly};
use super::upgrade::StreamRules;

/// One `[[route]]` of the configuration.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which paths it covers.
    pub path: PathRule,
    /// Which methods it covers: a request of another one is a later route's.
    pub methods: MethodRule,
    /// Where its requests go. `None` for applications mounted in this process.
    pub upstream: Option<UpstreamId>,
    /// The people who may pass.
    pub access: AccessRule,
    /// The answer to strangers.
    pub on_anonymous: OnAnonymous,
    /// The oldest authentication that may pass.
    pub max_auth_age: Option<Duration>,
    /// Set if the upstream gets the provider's access token.
    pub pass_access_token: bool,
    /// Ways to authenticate (`acr`), any of which may pass; empty: all.
    pub acr: Vec<String>,
    /// The part of its answers that a shared cache may keep.
    pub caching: Caching,
    /// The rules for connections that stay open.
    pub streams: StreamRules,
}

/// The number of an upstream, as whoever forwards requests counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamId(pub usize);

/// The part of a route's answers that a shared cache may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Caching {
    /// No answer to an authenticated request.
    #[default]
    Private,
    /// Whatever the upstream lets it keep.
    AsTheUpstreamSays,
}

/// The answer to a request without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnAnonymous {
    /// Pages are sent to the login, everything else gets 401.
    #[default]
    Auto,
    /// Every GET is sent to the login.
    Login,
    /// Everything gets 401.
    Unauthorized,
}

impl Route {
    /// A route of these paths for these people, with the defaults of everything else.
    pub fn new(path: PathRule, access: AccessRule) -> Self {
        Self {
            path,
            methods: MethodRule::default(),
            upstream: None,
            access,
            on_anonymous: OnAnonymous::default(),
            max_auth_age: None,
            pass_access_token: false,
            acr: Vec::new(),
            caching: Caching::default(),
            streams: StreamRules::default(),
        }
    }

    /// Is true if a login for this route is another than for any other page: with a certain provider, or proving more.
    pub fn demands_of_login(&self) -> bool {
        self.max_auth_age.is_some() || !self.acr.is_empty() || !self.access.idps.is_empty()
    }
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub enum Place {
    /// To the broker's own part of the site, which the back office behind never sees.
    Broker,
    /// To a route.
    Route(Arc<Route>),
    /// To routes of other methods, which are listed as `Allow` lists them (RFC 9110 10.2.1).
    OtherMethods(String),
    /// To nothing that the configuration names.
    Nowhere,
}

/// The same as a number: what readings are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Broker,
    Route(usize),
    OtherMethods,
    None,
}

/// All routes, in order.
#[derive(Debug, Clone)]
pub struct RouteTable {
    routes: Vec<(Arc<Route>, PathRule)>,
    /// The broker's part of the site, in lower case.
    broker: Option<PathRule>,
}

impl RouteTable {
    /// A table of these routes, in order, beside the broker's part of the site.
    pub fn new(routes: Vec<Route>, paths: &BrokerPaths) -> Self {
        let with_loose = |route: Route| {
            let loose = route.path.loose();
            (Arc::new(route), loose)
        };
        let broker = paths.root.as_deref().map(|root| PathRule::Prefix(root.to_owned()).loose());
        Self { routes: routes.into_iter().map(with_loose).collect(), broker }
    }

    /// Where a request leads by its path and the method that it is judged by, and the spelling in which its path is
    /// matched and handed on: as it came, if no reading of that leads elsewhere; else with plain characters written
    /// plainly, if no reading of that does.
    ///
    /// # Errors
    /// [`InvalidTarget`] for what no path may hold; [`InvalidTarget::Ambiguous`] if another server could read the path as
    /// one of another route's, of the broker's, or of nobody's.
    pub fn locate<'path>(&self, path: &'path str, method: &Method) -> Result<(Cow<'path, str>, Place), InvalidTarget> {
        check_characters(path)?;
        let (path, rule) = match self.rule_of_all_readings(path, method) {
            Ok(rule) => (Cow::Borrowed(path), rule),
            Err(fault) => {
                let plain = written_plainly(path).ok_or(fault)?;
                let rule = self.rule_of_all_readings(&plain, method)?;
                (Cow::Owned(plain), rule)
            }
        };
        let place = match rule {
            Rule::Broker => Place::Broker,
            Rule::Route(index) => Place::Route(self.routes[index].0.clone()),
            Rule::OtherMethods => Place::OtherMethods(self.allow(&path)),
            Rule::None => Place::Nowhere,
        };
        Ok((path, place))
    }

    fn rule_of_all_readings(&self, path: &str, method: &Method) -> Result<Rule, InvalidTarget> {
        let rule = self.rule(path, method);
        let agrees = |reading: &str| self.rule(reading, method) == rule && self.loose_rule(reading, method) == rule;
        let all_agree =
            if is_plain(path) { agrees(path) } else { readings(path)?.iter().all(|reading| agrees(reading)) };
        all_agree.then_some(rule).ok_or(InvalidTarget::Ambiguous)
    }

    /// The first rule that covers a path as it is written, and a method.
    fn rule(&self, path: &str, method: &Method) -> Rule {
        if self.broker.as_ref().is_some_and(|broker| broker.covers(path)) {
            return Rule::Broker;
        }
        self.first(method, |route, _| route.path.covers(path))
    }

    /// The same for a server that ignores case and a slash at the end.
    fn loose_rule(&self, path: &str, method: &Method) -> Rule {
        if self.broker.as_ref().is_some_and(|broker| broker.covers_loosely(path)) {
            return Rule::Broker;
        }
        self.first(method, |_, loose| loose.covers_loosely(path))
    }

    fn first(&self, method: &Method, covers_path: impl Fn(&Route, &PathRule) -> bool) -> Rule {
        let mut otherwise = Rule::None;
        for (index, (route, loose)) in self.routes.iter().enumerate() {
            if covers_path(route, loose) {
                if route.methods.covers(method) {
                    return Rule::Route(index);
                }
                otherwise = Rule::OtherMethods;
            }
        }
        otherwise
    }

    /// The methods that some route covers at a path.
    fn allow(&self, path: &str) -> String {
        let covering = self.routes.iter().filter(|(route, _)| route.path.covers(path));
        allow(&covering.map(|(route, _)| &route.methods).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    fn table(paths: &[&str]) -> RouteTable {
        let route = |path: &&str| Route::new(PathRule::parse(path).unwrap(), AccessRule::default());
        let broker = BrokerPaths { root: Some("/sso".into()), ..BrokerPaths::login_at("/sso/login") };
        RouteTable::new(paths.iter().map(route).collect(), &broker)
    }

    fn found(table: &RouteTable, path: &str) -> Result<Option<PathRule>, InvalidTarget> {
        Ok(match table.locate(path.parse::<Uri>().unwrap().path(), &Method::GET)?.1 {
            Place::Route(route) => Some(route.path.clone()),
            Place::Broker | Place::OtherMethods(_) | Place::Nowhere => None,
        })
    }

    /// R-I05
    #[test]
    fn the_first_route_that_covers_the_path_by_whole_segments_is_found() {
        let table = table(&["= /admin/health", "/admin", "/public/", "= /"]);
        for (path, rule) in [
            ("/admin/health", Some(PathRule::Exact("/admin/health".into()))),
            ("/admin/health-x", Some(PathRule::Prefix("/admin".into()))),
            ("/admin", Some(PathRule::Prefix("/admin".into()))),
            ("/admin/?x=/public", Some(PathRule::Prefix("/admin".into()))),
            ("/public", Some(PathRule::Prefix("/public".into()))),
            ("/", Some(PathRule::Exact("/".into()))),
            ("/administrator", None),
            ("/x?/admin", None),
        ] {
            assert_eq!(found(&table, path), Ok(rule), "{path}");
        }
    }

    /// R-I05: one line a request; the route that judges it by number, or the methods that are served there.
    #[test]
    fn another_method_tries_the_next_route_and_none_is_told_which_are_served() {
        let route = |path: &str, methods: &[&str]| {
            let methods = if methods.is_empty() { MethodRule::default() } else { MethodRule::parse(methods).unwrap() };
            Route { methods, ..Route::new(PathRule::parse(path).unwrap(), AccessRule::default()) }
        };
        let routes = [
            route("/api/keys", &["POST", "DELETE"]),
            route("/api", &["GET"]),
            route("/api/keys", &["PUT"]),
            route("/open", &["GET"]),
            route("/open", &[]),
        ];
        let table = RouteTable::new(routes.to_vec(), &BrokerPaths::none());
        for (method, path, expected) in [
            ("GET", "/api/keys/1", Ok(1)),
            ("POST", "/api/keys/1", Ok(0)),
            ("PUT", "/api/keys", Ok(2)),
            ("PATCH", "/api/keys", Err("GET, HEAD, POST, PUT, DELETE")),
            ("OPTIONS", "/api/keys", Err("GET, HEAD, POST, PUT, DELETE")),
            ("POST", "/api", Err("GET, HEAD")),
            ("GET", "/open", Ok(3)),
            ("PURGE", "/open", Ok(4)),
            ("GET", "/", Err("nowhere")),
        ] {
            let found = table.locate(path, &Method::from_bytes(method.as_bytes()).unwrap()).unwrap().1;
            match (&found, expected) {
                (Place::Route(found), Ok(number)) => {
                    let route: &Route = &routes[number];
                    assert_eq!((&found.path, &found.methods), (&route.path, &route.methods), "{method} {path}");
                }
                (Place::OtherMethods(allow), Err(expected)) => assert_eq!(allow, expected, "{method} {path}"),
                (Place::Nowhere, Err("nowhere")) => {}
                _ => panic!("{method} {path} leads to {found:?}"),
            }
        }
        // A spelling that some servers read as another path is refused where the methods there differ, and only there.
        for (method, path, is_refused) in [
            ("POST", "/API/keys", true),
            ("POST", "/x/..%2fapi", true),
            ("POST", "/OPEN", true),
            ("POST", "/api/a%2Fb", false),
        ] {
            assert_eq!(
                table.locate(path, &Method::from_bytes(method.as_bytes()).unwrap()).is_err(),
                is_refused,
                "{path}"
            );
        }
    }

    /// R-I04: what an upstream could read as /admin never passes by the rule for everything else.
    #[test]
    fn a_path_that_another_server_reads_as_another_route_is_refused() {
        let table = table(&["/Admin", "/"]);
        for path in [
            "/admin",
            "/ADMIN/users",
            "/Admin%2Fusers",
            "/admin;x=1/users",
            "/Admin;x",
            "/Admin.",
            "/Admin%3Fx",
            "/Admin%20",
            "/(S(lit3py55t21z5v55vlm25s55))/Admin",
            "/(A(x)S(y))/Admin/users",
        ] {
            assert_eq!(found(&table, path), Err(InvalidTarget::Ambiguous), "{path}");
        }
        for path in ["/Admin/users", "/Orders/A%2FB;c", "/Orders(1)/(x)", "/Admin/(S(x))"] {
            assert!(found(&table, path).unwrap().is_some(), "{path}");
        }
    }

    /// R-I04. Found by asking of each habit of servers which addresses of real products it refuses for nothing: queues
    /// (`RabbitMQ`), branches (Jenkins), images (IIIF), keys (object stores), Korean names, odd marks.
    #[test]
    fn a_path_of_which_every_reading_leads_to_one_rule_is_forwarded_byte_for_byte() {
        let one = table(&["/"]);
        let below = table(&["/admin", "/app", "/"]);
        for path in [
            "/api/queues/%2F/amq.queue",
            "/job/x/job/feature%252Fy/1/",
            "/iiif/ark:%2F12148%2Fbtv1b8449691v/full/max/0/default.jpg",
            "/iiif/http:%2F%2Fa.example%2Fb/info.json",
            "/bucket/key%5Cwith%5Cbackslashes",
            "/%ED%9A%8C%EA%B3%84/%C3%84/x",
            "/a|b^c",
            "/matrix;v=1;w=2/x;y",
            "/v1/items:batchGet",
            "/.well-known/openid-configuration",
            "/a%3Fb%23c",
            "/p%75blic/%7Euser",
            "/A.b_c~d-e/100%25",
            "/x?next=/../admin//%2e%2e",
        ] {
            for (table, path) in [(&one, path.to_owned()), (&below, format!("/app{path}"))] {
                let path = path.split('?').next().unwrap();
                let (spelling, place) =
                    table.locate(path, &Method::GET).unwrap_or_else(|fault| panic!("{path}: {fault}"));
                assert_eq!(spelling, path);
                assert!(matches!(place, Place::Route(_)), "{path}");
            }
        }
        for path in ["/bucket/a//b", "//a", "/a/../b", "/a/./b", "/..;/b", "/a/%2e%2e/b", "/a./b%20/"] {
            assert_eq!(one.locate(path, &Method::GET).unwrap().0, path);
        }
    }

    /// R-I04: with one rule for everything, the broker's own part is still another.
    #[test]
    fn no_reading_leads_from_a_route_into_the_brokers_part() {
        let table = table(&["/"]);
        for path in [
            "/SSO/login",
            "/%53so/login",
            "/x/../sso/login",
            "/x/%2e%2e/sso",
            "/x/..%2fsso/login",
            "//sso/login",
            "/x//sso/login",
            "/%2fsso/login",
            "/\\sso/login",
            "/sso%2flogin",
            "/sso;x/login",
            "/sso./login",
            "/sso%20",
            "/ss%c2%ado/x",
            "/%EF%BC%B3so/x",
            "/s%C5%BFo/x",
            "/%2573so/login",
        ] {
            assert_eq!(table.locate(path, &Method::GET).err(), Some(InvalidTarget::Ambiguous), "{path}");
        }
        for path in ["/sso", "/sso/", "/sso/x", "/%73so/login", "/sso/%2e/x"] {
            assert!(matches!(table.locate(path, &Method::GET), Ok((_, Place::Broker))), "{path}");
        }
        assert!(matches!(table.locate("/ssofoo", &Method::GET), Ok((_, Place::Route(_)))));
    }

    /// R-I04: every path that three of the marks make on which servers differ. Whatever passes has one rule in the eyes of
    /// servers with any two of these habits, which are written down here once more, without a look at how the table knows
    /// them.
    #[test]
    fn no_path_made_of_marks_slips_from_one_rule_to_another() {
        let table = table(&["/open", "/admin", "/"]);
        let pieces = ["/", "open", "admin", "ADMIN", "..", "%2e", "%2f", ";", "\\", ".", "%5c", "%25", "2f", "é"];
        let unescaped = |path: &str| {
            let pairs = [("%2f", "/"), ("%2e", "."), ("%5c", "\\"), ("%25", "%")];
            pairs.iter().fold(path.to_lowercase(), |path, (escape, plain)| path.replace(escape, plain))
        };
        let habits: [&dyn Fn(&str) -> String; 7] = [
            &|path| path.to_lowercase(),
            &|path| path.replace('\\', "/"),
            &unescaped,
            &|path| path.split('/').map(|name| name.split(';').next().unwrap()).collect::<Vec<_>>().join("/"),
            &|path| path.split('/').filter(|name| !name.is_empty()).fold(String::new(), |all, name| all + "/" + name),
            // As browsers read it.
            &|path| {
                url::Url::parse(&format!("http://a{path}"))
                    .map_or_else(|_| path.to_owned(), |url| url.path().to_owned())
            },
            &|path| path.strip_suffix('.').filter(|path| !path.ends_with(['.', '/'])).unwrap_or(path).to_owned(),
        ];
        let strictest = |path: &str| {
            let covers =
                |rule: &&str| path.strip_prefix(*rule).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]));
            ["/open", "/admin"].into_iter().find(covers).unwrap_or_default().to_owned()
        };
        let (mut passed, mut refused) = (0, 0);
        let mut paths: Vec<String> = vec!["/".into(), "/open".into(), "/open/x/".into()];
        for _ in 0..3 {
            paths = paths.iter().flat_map(|path| pieces.map(|piece| format!("{path}{piece}"))).collect();
            for path in &paths {
                let Ok((target, Place::Route(route))) = table.locate(path, &Method::GET) else {
                    refused += 1;
                    continue;
                };
                passed += 1;
                for one in habits {
                    let first = one(&target);
                    for other in habits {
                        let read = other(&first);
                        assert_eq!(PathRule::Prefix(strictest(&read)), route.path, "{path} is read as {read}");
                    }
                }
            }
        }
        assert!(passed > 1_000 && refused > 1_000, "{passed} {refused}");
    }
}
