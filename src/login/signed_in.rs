//! `GET /sso/signed-in`: the page for a person who signed in for the sake of another tab.
//!
//! A form that was sent after its session had ended waits in that tab: once somebody is signed in, reloading it sends
//! the form again. Nothing leads on from here, so that the tab can be closed.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::Login;
use crate::guard::session_lookup::look_up;
use crate::web::branding::Frame;
use crate::web::failure::Failure;
use crate::web::page::{self, SignedIn};
use crate::web::paths::PATHS;
use crate::web::return_to::ReturnTo;

/// Says who is signed in and that the tab can be closed.
///
/// # Errors
/// [`Failure`]: 401 without a session, with the way to one, and 503 if the store cannot be asked. Nobody is sent to the
/// login from here: a browser that keeps no cookies would go round in circles.
pub async fn signed_in(State(login): State<Login>, headers: HeaderMap) -> Result<Response, Failure> {
    let found = look_up(&login.sessions.reader(), &login.cookies, &headers).await?;
    let Some((_, session)) = found.live() else {
        return Err(Failure::from(found.why_not())
            .with_sign_in(ReturnTo::signed_in_for(None, &PATHS).unwrap_or_else(ReturnTo::home).login_href(&PATHS)));
    };
    let frame = Frame::for_request(&headers, &login.branding);
    let html = SignedIn { frame, name: session.record().identity.display_name() }.html();
    Ok(page::response(StatusCode::OK, frame.language, html))
}
