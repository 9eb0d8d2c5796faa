//! `counterfoil check`: one line per finding, with what to do about it.

mod authentication_time;

use std::sync::Arc;

use super::{CommandError, ConfigFile, failed};
use crate::clock::{SharedClock, SystemClock};
use crate::idp::{IdpError, IdpKind, IdpSettings, Provider};
use crate::session::store::StoreError;
use crate::telemetry::{self, LogSettings};
use crate::web::public_url::PublicUrl;

pub(super) async fn run(file: ConfigFile) -> Result<(), CommandError> {
    let settings = file.settings()?;
    // Only what goes wrong underneath, such as a password that Redis does not take.
    telemetry::start(LogSettings { level: tracing::Level::WARN, ..settings.log }, std::io::stderr);
    println!("ok    configuration: {} provider(s), {} route(s)", settings.idps.len(), settings.routes.len());
    for warning in &settings.warnings {
        println!("note  {warning}");
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let mut failures = 0;
    let mut report = |finding: Result<String, String>| match finding {
        Ok(line) => println!("ok    {line}"),
        Err(line) => {
            failures += 1;
            println!("fail  {line}");
        }
    };
    let store = match settings.store.open(clock.clone()) {
        Ok(store) => store.ping().await,
        Err(error) => Err(error),
    };
    report(store_finding(store));
    let is_alone = settings.idps.len() == 1;
    for idp in settings.idps {
        if let Some(proxy) = idp.proxy_on_the_way() {
            println!("note  idp.{}: asked through the proxy {proxy}", idp.name);
        }
        let (name, max_age) = (idp.name.clone(), idp.request.max_age);
        let (finding, is_told) = provider_finding(idp, &settings.public_url, clock.clone()).await;
        report(finding);
        if is_told {
            continue;
        }
        for found in authentication_time::unmeetable(&name, max_age, &settings.routes, is_alone) {
            if found.is_certain {
                report(Err(found.problem));
            } else {
                println!("note  {}", found.problem);
            }
        }
    }
    if failures == 0 { Ok(()) } else { Err(failed(format!("{failures} check(s) failed"))) }
}

fn store_finding(answer: Result<(), StoreError>) -> Result<String, String> {
    match answer {
        Ok(()) => Ok("store.url: the store answers".into()),
        Err(error) => {
            Err(format!("store.url: {error}: is it running, reachable from here, and are the credentials right?"))
        }
    }
}

/// What the provider says, and whether it says when somebody signed in, as far as that is known.
async fn provider_finding(
    idp: IdpSettings,
    public_url: &PublicUrl,
    clock: SharedClock,
) -> (Result<String, String>, bool) {
    let key = format!("idp.{}", idp.name);
    let redirect_uri = public_url.with_path(&format!("/sso/callback/{}", idp.name));
    let discovered = matches!(idp.kind, IdpKind::Oidc(_));
    let provider = match Provider::new(idp, redirect_uri.clone(), clock) {
        Ok(provider) => provider,
        Err(error) => return (Err(format!("{key}: {error}")), true),
    };
    let probed = provider.probe().await;
    // What plain OAuth 2.0 cannot be asked is a fault of the configuration already.
    let is_told = probed.is_err() || !discovered || provider.tells_authentication_time();
    let finding = match probed {
        Ok(()) if discovered => Ok(format!("{key}: metadata and keys are fine; register {redirect_uri} there")),
        Ok(()) => Ok(format!("{key}: plain OAuth 2.0, nothing to ask; register {redirect_uri} there")),
        Err(error) => Err(format!("{key}: {error}: {}", advice(&error))),
    };
    (finding, is_told)
}

fn advice(error: &IdpError) -> &'static str {
    match error {
        IdpError::PushedRequest(_) => "change `pushed_authorization_requests`, or the client's registration there",
        IdpError::Unusable { cause, .. } if cause.is_outage() => "is the issuer right, and reachable from here?",
        _ => "compare `issuer` with the provider's own documentation, character for character",
    }
}
