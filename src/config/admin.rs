//! `[admin]`: the rights to look at sessions, end them and change the timeouts.

use super::reader::Reader;
use crate::administration::rights::{AdminRights, ApiTokens};

/// Shortest token for machines: what `openssl rand -base64 24` makes.
const SHORTEST_TOKEN: usize = 32;

pub(super) fn read(section: &mut Reader, idp_names: &[String]) -> AdminRights {
    let groups = section.or::<Vec<String>>("groups", Vec::new());
    let ops_groups = section.or::<Vec<String>>("ops_groups", Vec::new());
    let idps = section.or::<Vec<String>>("idps", Vec::new());
    if let Some(unknown) = idps.iter().find(|name| !idp_names.contains(name)) {
        section.fault("idps", format!("names `{unknown}`, but there is no [idp.{unknown}]"));
    }
    let tokens = read_tokens(section);
    if tokens.iter().any(|token| token.len() < SHORTEST_TOKEN) {
        section.fault("api_tokens", "each must have at least 32 characters: openssl rand -base64 32");
    }
    AdminRights { groups, ops_groups, idps, tokens: ApiTokens::new(&tokens) }
}

fn read_tokens(section: &mut Reader) -> Vec<String> {
    if section.has("api_tokens") && section.has("api_tokens_file") {
        section.fault("api_tokens", "is given twice: here and by `api_tokens_file`");
        section.ignore_the_rest();
        return Vec::new();
    }
    if !section.has("api_tokens_file") {
        return section.or("api_tokens", Vec::new());
    }
    let lines = section.secret("api_tokens");
    let lines = lines.as_ref().map_or("", |lines| lines.expose());
    lines.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
