//! A real broker process whose log is read, and the browser of somebody who signs in with it.

use std::sync::Arc;

use counterfoil::clock::SystemClock;

use super::broker::KEY;
use super::browser::{Answer, Browser};
use super::child::{Program, free_port};
use super::program::{Folder, counterfoil};
use super::scripted_idp::{Script, ScriptedIdp};
use super::upstream;

/// A broker in front of a scripted provider, its sessions in memory.
pub struct Witness {
    pub program: Program,
    pub browser: Browser,
    pub public: String,
    pub idp: ScriptedIdp,
    _folder: Folder,
}

impl Witness {
    /// Starts it; `idp` are more keys of `[idp.company]`, `script` holds from its first question on.
    pub async fn start(idp: &str, script: Script) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let provider = ScriptedIdp::start(Arc::new(SystemClock)).await;
        provider.behave(script);
        let office = upstream::start().await;
        let public = format!("http://127.0.0.1:{port}");
        let text = format!(
            "public_url = \"{public}\"\n[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:0\"\n\
             [secrets]\nkeys = [\"{KEY}\"]\n[store]\nurl = \"memory:\"\n[idp.company]\nkind = \"oidc\"\n\
             issuer = \"{}\"\nclient_id = \"backoffice\"\nclient_secret = \"CANARY-client-secret\"\n{idp}\n\
             [[route]]\npath = \"/\"\nupstream = \"http://{office}\"\npass_access_token = true\n",
            provider.issuer()
        );
        let config = folder.write("counterfoil.toml", &text);
        let program = Program::start(&mut counterfoil(folder.path(), &["serve", "--config", &config]));
        program.wait_for("an identity provider is ready");
        Self { program, browser: Browser::new([]), public, idp: provider, _folder: folder }
    }

    /// Goes through a login as far as it gets; the last answer.
    pub async fn sign_in(&self) -> Answer {
        let start = self.browser.visit(&format!("{}/sso/login", self.public)).send().await;
        if start.status != 303 {
            return start;
        }
        let callback = self.browser.visit(start.location()).send().await.location().to_owned();
        self.browser.visit(&callback).send().await
    }

    /// Signs out, by the page and its button; where the browser is sent.
    pub async fn sign_out(&self) -> Answer {
        let address = format!("{}/sso/logout", self.public);
        let page = self.browser.visit(&address).send().await;
        let pressed = self.browser.submit(&address, &[("csrf_token", &page.csrf_token())]);
        pressed.header("sec-fetch-site", "same-origin").send().await
    }
}
