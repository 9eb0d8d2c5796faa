//! `counterfoil demo`: the broker, an identity provider and a back office in one process.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use toml::{Table, toml};

use super::output::say;
use super::serve::{listen, run_broker};
use super::{CommandError, failed};
use crate::app::server::serve;
use crate::clock::SystemClock;
use crate::config::Source;
use crate::demo::back_office;
use crate::demo::identity_provider::{self, IdentityProvider, RegisteredClient};
use crate::secret::random_token;
use crate::telemetry::LogThread;

/// The demo's own server key, which everybody knows: base64 of "counterfoil demo: this is public". With it a demo can be
/// started again on the same store.
const DEMO_KEY: &str = "Y291bnRlcmZvaWwgZGVtbzogdGhpcyBpcyBwdWJsaWM=";

/// The broker's name at the demo identity provider.
const CLIENT_ID: &str = "backoffice";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Address of the back office; its public URL is http:// and this address
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the demo identity provider
    #[arg(long, default_value = "127.0.0.1:8081")]
    idp_listen: SocketAddr,
    /// Address of the health reports
    #[arg(long, default_value = "127.0.0.1:9090")]
    ops_listen: SocketAddr,
    /// URL of the session store
    #[arg(long, default_value = "memory:")]
    store: String,
    /// Listen on other addresses than loopback, although anybody may sign in as anybody
    #[arg(long)]
    i_know_this_is_a_demo: bool,
}

pub(super) async fn run(arguments: Arguments, log: &mut LogThread) -> Result<(), CommandError> {
    let addresses = [arguments.listen, arguments.idp_listen, arguments.ops_listen];
    if !arguments.i_know_this_is_a_demo && addresses.iter().any(|address| !address.ip().is_loopback()) {
        let problem = "the demo lets anybody sign in as anybody, so it listens on loopback only \
                       (unless --i-know-this-is-a-demo)";
        return Err(CommandError::Usage(problem.into()));
    }
    let public = listen("--listen", arguments.listen).await?;
    let idp = listen("--idp-listen", arguments.idp_listen).await?;
    let operations = listen("--ops-listen", arguments.ops_listen).await?;
    let office = listen("the back office", SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let client_secret = random_token::<24>();
    let (public_url, issuer, upstream) = (origin(&public)?, origin(&idp)?, origin(&office)?);
    let settings = source(&public_url, &issuer, &upstream, &client_secret, &arguments.store)?.settings()?;
    log.start(settings.log);

    let provider = IdentityProvider::new(
        provider_settings(&public_url, issuer.clone(), client_secret),
        std::sync::Arc::new(SystemClock),
    );
    let brief = Duration::from_secs(1);
    tokio::spawn(serve(idp, provider.router(), std::future::pending(), brief));
    tokio::spawn(serve(office, back_office::router(), std::future::pending(), brief));
    match say(&welcome(&public_url, &issuer, &origin(&operations)?)) {
        // The demo goes on for those who know its address.
        Ok(()) | Err(CommandError::NobodyReads) => {}
        Err(error) => return Err(error),
    }
    run_broker(settings, public, operations, None).await
}

fn origin(listener: &TcpListener) -> Result<String, CommandError> {
    Ok(format!("http://{}", listener.local_addr().map_err(failed)?))
}

/// The demo's configuration, as an operator would write it; what the environment says comes on top, except
/// for the addresses that the arguments decide.
fn source(
    public_url: &str,
    issuer: &str,
    upstream: &str,
    client_secret: &str,
    store: &str,
) -> Result<Source, CommandError> {
    let mut source = Source::of_process(None)?;
    source.environment.retain(|name, _| {
        ["COUNTERFOIL_SECRETS__", "COUNTERFOIL_SESSION__", "COUNTERFOIL_LOG__", "COUNTERFOIL_BRANDING__"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    let mut table: Table = toml! {
        [branding]
        product_name = "Larkfield back office"

        [login]
        default_idp = "company"

        [idp.company]
        kind = "oidc"
        client_id = "backoffice"
        display_name = "Company account"
        logout_id_token_hint = true

        [idp.legacy]
        kind = "oauth2"
        client_id = "backoffice"
        display_name = "Employee directory (plain OAuth 2.0)"
        trust_email = true
        profile = { subject = "employee.id", name = "employee.name", email = "employee.email", groups = "employee.departments" }

        [[route]]
        path = "/public"
        access = "public"

        [[route]]
        path = "/assets"
        access = "public"

        [[route]]
        path = "/finance"
        groups = ["finance"]

        [[route]]
        path = "/"
        groups = ["staff"]
    };
    let set = |table: &mut Table, path: &[&str], value: &str| {
        let (last, parents) = path.split_last().unwrap_or((&"", &[]));
        let parent = parents.iter().fold(table, |table, key| {
            let next = table.entry(*key).or_insert_with(|| Table::new().into());
            next.as_table_mut().unwrap_or_else(|| unreachable!("the literal above has tables there"))
        });
        parent.insert((*last).to_owned(), value.into());
    };
    set(&mut table, &["public_url"], public_url);
    set(&mut table, &["store", "url"], store);
    set(&mut table, &["idp", "company", "issuer"], issuer);
    set(&mut table, &["idp", "company", "client_secret"], client_secret);
    set(&mut table, &["idp", "legacy", "client_secret"], client_secret);
    for (key, path) in [("authorization", "authorize"), ("token", "token"), ("profile", "api/me")] {
        set(&mut table, &["idp", "legacy", &format!("{key}_endpoint")], &format!("{issuer}/oauth2/{path}"));
    }
    for route in table.get_mut("route").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(route) = route.as_table_mut() {
            set(route, &["upstream"], upstream);
        }
    }
    if !source.environment.keys().any(|name| name.starts_with("COUNTERFOIL_SECRETS__")) {
        table.insert("secrets".into(), toml::Value::Table(Table::from_iter([("keys".into(), vec![DEMO_KEY].into())])));
    }
    source.file = Some(table.to_string());
    Ok(source)
}

fn provider_settings(public_url: &str, issuer: String, client_secret: String) -> identity_provider::Settings {
    let client = RegisteredClient {
        client_id: CLIENT_ID.into(),
        client_secret,
        redirect_uris: ["company", "legacy"].map(|idp| format!("{public_url}/sso/callback/{idp}")).into(),
        post_logout_redirect_uris: vec![format!("{public_url}/sso/signed-out")],
        backchannel_logout_uri: Some(format!("{public_url}/sso/backchannel-logout/company")),
    };
    identity_provider::Settings { issuer, clients: vec![client] }
}

fn welcome(public_url: &str, issuer: &str, operations: &str) -> String {
    format!(
        "Counterfoil demo\n\n\
         \x20 open               {public_url}/\n\
         \x20 plain OAuth 2.0    {public_url}/sso/login?idp=legacy\n\
         \x20 identity provider  {issuer}/\n\
         \x20 health             {operations}/readyz\n\n\
         \x20 accounts (no password)\n\
         \x20   alice  Alice Kim   staff\n\
         \x20   bob    Bob Lee     staff, finance\n\
         \x20   carol  Carol Park  staff, security\n\
         \x20   dave   Dave Choi   staff, ops\n"
    )
}
