//! The findings of `check` on identity providers: whether they can be asked, whether they know us, which settings they
//! do not offer, and what has to be registered there.

use super::Finding;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::idp::{IdpError, Misfit, Needs, Provider, ProviderSettings, PushedRequestError, Trial, Weight};
use crate::web::public_url::PublicUrl;

/// The knowledge of a provider's people that the rest of the configuration expects. Pure.
pub(super) fn needs(idp: &str, settings: &Settings) -> Needs {
    let is_admitted = |idps: &[String]| idps.is_empty() || idps.iter().any(|name| name == idp);
    let routes: Vec<_> =
        settings.routes.iter().enumerate().filter(|(_, route)| is_admitted(&route.access.idps)).collect();
    let of_route = |key: &str, asks: &dyn Fn(&crate::guard::route::Route) -> bool| {
        routes.iter().find(|(_, route)| asks(route)).map(|(index, _)| format!("route[{index}].{key}"))
    };
    let admin = &settings.admin;
    let of_admin = || {
        let keys = [("admin.groups", &admin.groups), ("admin.ops_groups", &admin.ops_groups)];
        let asks = keys.into_iter().find(|(_, groups)| is_admitted(&admin.idps) && !groups.is_empty());
        asks.map(|(key, _)| key.to_owned())
    };
    let of_timeouts = || (!settings.rules.timeouts.by_group.is_empty()).then(|| "session.timeout[0].groups".to_owned());
    let groups = of_route("groups", &|route| !route.access.groups.is_empty()).or_else(of_admin).or_else(of_timeouts);
    let emails = of_route("emails", &|route| !route.access.emails.is_empty())
        .or_else(|| of_route("email_domains", &|route| !route.access.email_domains.is_empty()));
    let acr = routes.iter().filter(|(_, route)| !route.acr.is_empty());
    let acr = acr.map(|(index, route)| (format!("route[{index}].acr"), route.acr.clone())).collect();
    Needs { groups, emails, acr }
}

/// Asks a provider. The second value is true unless it is known not to say when somebody signed in.
pub(super) async fn findings(
    idp: &ProviderSettings,
    needs: &Needs,
    public_url: &PublicUrl,
    clock: SharedClock,
) -> (Vec<Finding>, bool) {
    let key = format!("idp.{}", idp.name);
    let redirect_uri = public_url.with_path(&format!("/sso/callback/{}", idp.name));
    let (mut findings, mut is_told) = (Vec::new(), true);
    match Provider::new(idp.clone(), redirect_uri, clock) {
        Ok(provider) => {
            findings.extend(asked(&provider, idp, &key, needs).await);
            // A question that plain OAuth 2.0 cannot be asked is a fault of the configuration already.
            is_told = idp.is_plain_oauth2() || !provider.is_known() || provider.tells_authentication_time();
        }
        Err(error) => findings.push(Finding::Failure(format!("{key}: {error}"))),
    }
    findings.extend(to_register(idp, &key, public_url));
    (findings, is_told)
}

async fn asked(provider: &Provider, idp: &ProviderSettings, key: &str, needs: &Needs) -> Vec<Finding> {
    if let Err(error) = provider.probe().await {
        return vec![Finding::Failure(format!("{key}: {error}: {}", advice(&error)))];
    }
    let answers = if idp.is_plain_oauth2() {
        format!("{key}: plain OAuth 2.0, no metadata to ask for")
    } else {
        format!("{key}: metadata and keys can be used")
    };
    let (trial, misfits) = match (provider.try_credentials().await, provider.misfits(needs).await) {
        (Ok(trial), Ok(misfits)) => (trial, misfits),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::Failure(format!("{key}: {error}"))],
    };
    let misfits = misfits.into_iter().map(|misfit| of_misfit(key, misfit, &trial));
    [Finding::Fine(answers), of_trial(key, &trial)].into_iter().chain(misfits).collect()
}

/// The provider's answer to our credentials. Pure.
fn of_trial(key: &str, trial: &Trial) -> Finding {
    match trial {
        Trial::Accepted => Finding::Fine(format!("{key}: the provider knows client_id and its proof")),
        Trial::NothingToTry => Finding::Fine(format!("{key}: a public client, nothing to prove")),
        Trial::Refused => Finding::Failure(format!(
            "{key}: the provider does not accept us (invalid_client): compare client_id and client_secret (or the key, \
             or the certificate) with what is registered there, and token_endpoint_auth_method"
        )),
        Trial::NotAllowed => Finding::Failure(format!(
            "{key}: the provider knows the client, but does not let it sign people in by code (unauthorized_client): \
             change the client's registration there"
        )),
        Trial::RequestRefused(code) => Finding::Failure(format!(
            "{key}: the provider refused the authorization request ({code}): are the redirect URI and the scopes \
             registered there?"
        )),
        Trial::Unclear(why) => {
            Finding::Note(format!("{key}: whether the provider accepts our credentials could not be told: {why}"))
        }
    }
}

/// A setting that the provider does not offer. Pure.
fn of_misfit(key: &str, Misfit { key: part, problem, weight }: Misfit, trial: &Trial) -> Finding {
    let key = if part.starts_with("route[") { part } else { format!("{key}.{part}") };
    let line = format!("{key}: {problem}");
    match weight {
        Weight::Certain => Finding::Failure(line),
        Weight::UnlessAccepted if *trial != Trial::Accepted => Finding::Failure(line),
        Weight::UnlessAccepted => Finding::Note(format!("{line} (it accepted us all the same)")),
        Weight::Possible => Finding::Note(line),
    }
}

/// The addresses that the provider has to know. Pure.
fn to_register(idp: &ProviderSettings, key: &str, public_url: &PublicUrl) -> Vec<Finding> {
    let mut addresses = vec![("redirect URI", format!("/sso/callback/{}", idp.name))];
    if !idp.is_plain_oauth2() {
        addresses.extend([
            ("post-logout redirect URI", "/sso/signed-out".to_owned()),
            ("back-channel logout URI", format!("/sso/backchannel-logout/{}", idp.name)),
            ("front-channel logout URI, if it has no back channel", format!("/sso/frontchannel-logout/{}", idp.name)),
        ]);
    }
    if idp.notices.shared_signals.is_some() {
        addresses.push(("receiver of security events", format!("/sso/security-events/{}", idp.name)));
    }
    let line = |(what, path): (&str, String)| {
        Finding::Fine(format!("{key}: register there: {} ({what})", public_url.with_path(&path)))
    };
    addresses.into_iter().map(line).collect()
}

fn advice(error: &IdpError) -> &'static str {
    match error {
        IdpError::PushedRequest(PushedRequestError::Demanded | PushedRequestError::NotOffered) => {
            "change `pushed_authorization_requests`"
        }
        IdpError::PushedRequest(_) => "change `pushed_authorization_requests`, or the client's registration there",
        IdpError::Unusable { cause, .. } if cause.is_outage() => "is the issuer right, and reachable from here?",
        _ => "compare `issuer` with the provider's own documentation, character for character",
    }
}
