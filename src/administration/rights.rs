//! The rights to see and end sessions, and to change timeouts (R-N03): groups of people, and tokens of machines.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

/// The `[admin]` section.
#[derive(Debug, Clone, Default)]
pub struct AdminRights {
    /// The groups whose members may see and end sessions.
    pub groups: Vec<String>,
    /// The groups whose members may change timeouts.
    pub ops_groups: Vec<String>,
    /// The configured names of the providers whose word on groups counts. Empty: any.
    pub idps: Vec<String>,
    /// The tokens of machines that may do both.
    pub tokens: ApiTokens,
}

/// Tokens of machines, by their hashes: comparing those tells nothing about the tokens, however long it takes.
#[derive(Debug, Clone, Default)]
pub struct ApiTokens(Vec<[u8; 32]>);

impl ApiTokens {
    /// The hashes of these tokens.
    pub fn new(tokens: &[String]) -> Self {
        Self(tokens.iter().map(|token| hash(token)).collect())
    }

    /// The name under which a token is spoken of, if it is one of ours.
    pub(crate) fn name_of(&self, token: &str) -> Option<String> {
        let shown = hash(token);
        let known = self.0.iter().fold(subtle::Choice::from(0), |known, own| known | own.ct_eq(&shown));
        bool::from(known).then(|| format!("api-token:{}", URL_SAFE_NO_PAD.encode(&shown[..6])))
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_is_known_and_its_name_does_not_show_it() {
        let token = "r9Jx0m1V2c3b4N5m6Q7w8E9r0T1y2U3i".to_owned();
        let tokens = ApiTokens::new(&[token.clone(), "another token of another machine".into()]);
        let name = tokens.name_of(&token).unwrap();
        assert!(name.starts_with("api-token:") && !name.contains(&token[..6]), "{name}");
        for stranger in ["", "r9Jx0m1V2c3b4N5m6Q7w8E9r0T1y2U3", &format!("{token} "), &token.to_lowercase()] {
            assert_eq!(tokens.name_of(stranger), None, "{stranger}");
        }
        assert!(ApiTokens::default().name_of("").is_none());
    }
}
