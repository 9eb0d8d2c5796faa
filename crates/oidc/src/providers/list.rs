//! Lists that a provider's API gives out page by page.
//!
//! The answer names the next page: pages may be short, and their names are not always numbers. Of its link only the
//! query is used, never the host or path.

use http::Response;
use http::header::LINK;
use serde_json::Value;
use url::Url;

use crate::providers::api::{Api, MOST_GROUPS, ProfileApiError};

/// Items asked for at once; GitHub and Bitbucket allow no more.
const PAGE: usize = 100;
/// Twice the number of full pages that hold as many items as can be kept.
pub(crate) const MOST_PAGES: usize = 2 * MOST_GROUPS / PAGE;

/// A list of an API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    pub(crate) what: &'static str,
    pub(crate) path: &'static str,
    /// The query for the first page.
    pub(crate) first: &'static str,
    /// Place of the items in an answer, as a JSON pointer.
    pub(crate) items: &'static str,
    pub(crate) next: Next,
    /// Most pages that are read; with more the login fails.
    pub(crate) most_pages: usize,
}

/// The place where an answer says how the next page is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next {
    /// In a member that is a link.
    Member(&'static str),
    /// In the header for links (RFC 8288).
    LinkHeader,
}

impl Api<'_> {
    /// Fetches everything in a list.
    pub(crate) async fn all(&self, list: List) -> Result<Vec<Value>, ProfileApiError> {
        let mut all = Vec::new();
        let mut query = list.first.to_owned();
        for _ in 0..list.most_pages {
            let mut answer = self.get(list.what, &format!("{}?{query}", list.path)).await?;
            let next = list.next.query(&answer).map_err(|Unreadable| ProfileApiError::Malformed(list.what))?;
            match answer.body_mut().pointer_mut(list.items).map(Value::take) {
                Some(Value::Array(items)) => all.extend(items),
                _ => return Err(ProfileApiError::Malformed(list.what)),
            }
            match next {
                Some(next) => query = next,
                None => return Ok(all),
            }
        }
        Err(ProfileApiError::TooMany(list.what))
    }
}

/// A link that leads nowhere.
#[derive(Debug, PartialEq)]
struct Unreadable;

impl Next {
    /// Returns the query for the next page, if there is one. Pure.
    fn query(self, answer: &Response<Value>) -> Result<Option<String>, Unreadable> {
        let link = match self {
            Self::Member(name) => match answer.body().get(name) {
                None | Some(Value::Null) => None,
                Some(link) => Some(link.as_str().ok_or(Unreadable)?),
            },
            Self::LinkHeader => linked(answer)?,
        };
        link.map(query_of).transpose()
    }
}

fn query_of(link: &str) -> Result<String, Unreadable> {
    Url::parse(link).ok().and_then(|url| url.query().map(str::to_owned)).ok_or(Unreadable)
}

/// Returns the address that the header links as next.
fn linked(answer: &Response<Value>) -> Result<Option<&str>, Unreadable> {
    for value in answer.headers().get_all(LINK) {
        for link in value.to_str().map_err(|_| Unreadable)?.split('<').skip(1) {
            let (target, parameters) = link.split_once('>').ok_or(Unreadable)?;
            if parameters.split([';', ',']).any(is_next) {
                return Ok(Some(target));
            }
        }
    }
    Ok(None)
}

fn is_next(parameter: &str) -> bool {
    let Some((name, relations)) = parameter.trim().split_once('=') else { return false };
    name.eq_ignore_ascii_case("rel")
        && relations.trim_matches('"').split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(links: &[&str], body: Value) -> Response<Value> {
        let answer = links.iter().fold(Response::builder(), |answer, link| answer.header(LINK, *link));
        answer.body(body).unwrap()
    }

    /// R-F03: one line a case: what an answer says of the next page, and the query that is sent to our own address.
    #[test]
    fn the_next_page_is_asked_for_as_the_answer_says_and_nowhere_else() {
        let member = |body| Next::Member("next").query(&answer(&[], body));
        assert_eq!(member(json!({})), Ok(None));
        assert_eq!(member(json!({ "next": null })), Ok(None));
        let elsewhere = json!({ "next": "https://evil.example/v1.0/x?$skiptoken=s" });
        assert_eq!(member(elsewhere), Ok(Some("$skiptoken=s".into())));
        for broken in [json!(7), json!("?page=2"), json!("https://api.example/"), json!(""), json!({})] {
            assert_eq!(member(json!({ "next": broken })), Err(Unreadable), "{broken}");
        }

        let header = |links: &[&str]| Next::LinkHeader.query(&answer(links, json!([])));
        let documented = "<https://api.github.com/user/orgs?per_page=100&page=1>; rel=\"prev\", \
                          <https://api.github.com/user/orgs?per_page=100&page=3>; rel=\"next\", \
                          <https://api.github.com/user/orgs?per_page=100&page=9>; rel=\"last\"";
        let last = "<https://api.github.com/user/orgs?per_page=100&page=1>; rel=\"first\"";
        for (links, query) in [
            (&[][..], Ok(None)),
            (&[last], Ok(None)),
            (&[documented], Ok(Some("per_page=100&page=3"))),
            (&[last, documented], Ok(Some("per_page=100&page=3"))),
            (&["<https://evil.example/?a=1,2>; title=\"x\"; REL=next"], Ok(Some("a=1,2"))),
            (&["<https://api.github.com/>; rel=\"next\""], Err(Unreadable)),
            (&["<https://api.github.com/?page=2; rel=\"next\""], Err(Unreadable)),
            (&["</user/orgs?page=2>; rel=\"next\""], Err(Unreadable)),
        ] {
            assert_eq!(header(links), query.map(|query| query.map(str::to_owned)), "{links:?}");
        }
    }
}
