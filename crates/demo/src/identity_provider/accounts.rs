//! The people of the demo company and what is told about them.
//!
//! Owns the four accounts and their claims. Does not decide who is signed in. Called by the sign-in page, the
//! ID token and the two "who is this" endpoints.

use serde_json::{Map, Value, json};

use super::scopes::Scopes;

/// One made-up person. The subject identifier is the short name, so that scripts can be short too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub id: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub employee: &'static str,
    pub groups: &'static [&'static str],
}

static ACCOUNTS: [Account; 4] = [
    Account { id: "alice", name: "Alice Kim", email: "alice@example.com", employee: "E-1001", groups: &["staff"] },
    Account { id: "bob", name: "Bob Lee", email: "bob@example.com", employee: "E-1002", groups: &["staff", "finance"] },
    Account {
        id: "carol",
        name: "Carol Park",
        email: "carol@example.com",
        employee: "E-1003",
        groups: &["staff", "security"],
    },
    Account { id: "dave", name: "Dave Choi", email: "dave@example.com", employee: "E-1004", groups: &["staff", "ops"] },
];

/// Finds the account with this short name.
pub(super) fn find(id: &str) -> Option<&'static Account> {
    ACCOUNTS.iter().find(|account| account.id == id)
}

/// Returns all accounts, the one that `login_hint` means first.
pub(super) fn hinted_first(login_hint: Option<&str>) -> Vec<(&'static Account, bool)> {
    let hinted = |account: &Account| login_hint.is_some_and(|hint| hint == account.id || hint == account.email);
    let mut ordered: Vec<_> = ACCOUNTS.iter().map(|account| (account, hinted(account))).collect();
    ordered.sort_by_key(|(_, is_hinted)| !is_hinted);
    ordered
}

impl Account {
    /// Returns the letter on the account's button.
    pub(super) fn initial(&self) -> &'static str {
        self.name.get(..1).unwrap_or_default()
    }

    /// Returns the claims that these scopes open, OpenID Connect Core 1.0 section 5.4. `groups` comes with `profile`
    /// as well, so that the standard scopes are enough for an application that needs groups.
    pub(super) fn claims(&self, scopes: &Scopes) -> Map<String, Value> {
        let mut claims = Map::new();
        if scopes.contains("profile") {
            claims.insert("name".into(), json!(self.name));
            claims.insert("preferred_username".into(), json!(self.id));
        }
        if scopes.contains("email") {
            claims.insert("email".into(), json!(self.email));
            claims.insert("email_verified".into(), json!(true));
        }
        if scopes.contains("profile") || scopes.contains("groups") {
            claims.insert("groups".into(), json!(self.groups));
        }
        claims
    }

    /// Returns the person in the shape of a home-grown OAuth 2.0 provider: nested, with names of its own.
    pub(super) fn employee_record(&self) -> Value {
        json!({ "employee": {
            "id": self.employee, "name": self.name, "email": self.email, "departments": self.groups,
        }})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_by_name_or_address_puts_that_account_first() {
        for hint in ["carol", "carol@example.com"] {
            let ordered = hinted_first(Some(hint));
            assert_eq!((ordered[0].0.id, ordered[0].1), ("carol", true));
            assert_eq!(ordered.iter().filter(|(_, is_hinted)| *is_hinted).count(), 1);
        }
        assert_eq!(hinted_first(Some("mallory"))[0], (&ACCOUNTS[0], false));
    }

    #[test]
    fn claims_follow_the_scopes() {
        let claims = |scope| ACCOUNTS[1].claims(&Scopes::granted(scope));
        assert!(claims("openid").is_empty());
        assert_eq!(claims("openid groups")["groups"], json!(["staff", "finance"]));
        assert_eq!(claims("openid profile")["groups"], json!(["staff", "finance"]));
        assert!(!claims("openid profile").contains_key("email"));
    }
}
