# The words of every page Counterfoil shows, in English.
# ko.ftl holds the same ids with the same variables; a test compares the two.

## On every page

need-help = Need help?
company-account = Company account
sign-in = Sign in
sign-in-again = Sign in again
sign-out = Sign out

## Choosing where to sign in

chooser-title = Sign in
chooser-intro = Choose the account you use for work.
chooser-empty = No sign-in service has been set up yet. Please tell the people who run this service.
sign-in-with = Sign in with { $provider }
password-heading = About your password
password-note = You type it only on your company account’s own page. { $product } never sees it.

## After signing out

signed-out-complete-title = You are signed out
signed-out-complete-text = Your session here has ended, and you are signed out of your company account too.
signed-out-local-title = You are signed out here
signed-out-local-text = Your session here has ended, but this browser may still be signed in to your company account. On a shared computer, sign out there as well.
signed-out-none-title = You were not signed in
signed-out-none-text = There was no session to end in this browser. On a shared computer, check that your company account is signed out as well.
state-signed-out = Signed out
state-maybe-signed-in = May still be signed in
state-not-signed-in = Not signed in

## When a session has ended by itself

session-ended-title = Your session has ended
session-ended-text = It timed out or was ended for security. Sign in again and you will return to the page you came for.
state-session-ended = Session ended
state-nothing-lost = Unchanged

## Too many sessions

too-many-sessions-title = You have reached your session limit
too-many-sessions-text = You are signed in at as many places as is allowed at the same time. End one of these sessions to sign in here.
too-many-sessions-heading = Why this is asked
too-many-sessions-note = Sessions that nobody uses are a risk. Ending one here signs that browser out at once.
end-session-last-used = End the session that was last used { $time }

## Moments

moment-just-now = just now
moment-minutes-ago = { $count ->
    [one] 1 minute ago
   *[other] { $count } minutes ago
}
moment-hours-ago = { $count ->
    [one] 1 hour ago
   *[other] { $count } hours ago
}
moment-days-ago = { $count ->
    [one] 1 day ago
   *[other] { $count } days ago
}

## After signing in for another tab

signed-in-title = You are signed in
signed-in-text = You can close this tab.
signed-in-close = If you were about to send a form, go back to its tab and reload the page there. What you entered is sent again.

## Before signing out

confirm-logout-title = Sign out?
confirm-logout-unknown = We cannot look up your session just now. If you sign out, this browser forgets it; our own record of it may live on until it times out.
confirm-logout-text = Anything you have not saved yet may be lost. You can sign in again at any time.
signed-in-as = Signed in as
stay-signed-in = Stay signed in

## After signing out here, before signing out at the company account

sign-out-there-title = You are signed out here
sign-out-there-text = You may still be signed in to your company account. On a shared computer, sign out there too.
sign-out-there = Sign out there too
stay-signed-in-there = Stay signed in there

## Errors: the parts all of them share

error-reference = Reference
error-reference-hint = Please quote it when you ask for help.
error-support = Help
error-code = Code
try-again = Try again
go-home = Go to the start page
go-on = Go on with this account
sign-in-other = Sign in with another account

## A form that was sent too late

late-form-title = What you entered is not lost yet
late-form-text = It has not been processed, but this browser tab still holds it.
late-form-sign-in = Sign in (opens a new tab)
late-form-reload = Then come back to this tab and reload it. If your browser asks whether to send the form again, say yes.
late-form-instead = If you no longer need what you entered:

## Errors: sessions

error-unsaved-note = Anything that was not saved may have to be entered again.

error-session-missing-title = Please sign in
error-session-missing-advice = This page is for people who are signed in. Use your company account to continue.

error-session-idle-title = Your session has timed out
error-session-idle-advice = Nothing happened for a while, so we ended the session to protect your work. Sign in again to carry on.

error-session-expired-title = Your session has reached its time limit
error-session-expired-advice = For safety every session ends after a fixed time, even while you are working. Sign in again to carry on.

error-session-revoked-title = Your session was ended
error-session-revoked-advice = Somebody who looks after the security of this service ended it. You can sign in again, with your password if you are asked for it. If you did not expect this, please ask them.

error-session-displaced-title = You signed in somewhere else
error-session-displaced-advice = You may be signed in only a limited number of times at once, so your newer sign-in ended this session. If that was not you, please tell the people who look after the security of this service.

error-session-ended-elsewhere-title = This session was ended from another browser of yours
error-session-ended-elsewhere-advice = Sign in again to carry on here. If that was not you, please tell the people who look after the security of this service.

error-session-ended-by-provider-title = Your company account signed you out
error-session-ended-by-provider-advice = You were signed out there, or your account was changed or locked, so this session ended as well. Sign in again to carry on. If you did not expect this, please tell the people who look after the security of this service.

error-login-overtaken-title = Please start signing in again
error-login-overtaken-advice = While you were signing in, your sessions were ended for security, so this sign-in is no longer valid. You can start again right away.

error-login-blocked-title = You can’t sign in just now
error-login-blocked-advice = The people who look after the security of this service have paused sign-ins for your account. Please ask them.

error-login-too-old-title = Please sign in once more
error-login-too-old-advice = This page is for people who have just proved who they are. Your session goes on; please sign in once more, then open the page or send the form again.

error-forbidden-title = You don’t have access to this page
error-forbidden-advice = You are signed in, but this account has not been given access here. If you have another account for it, sign in with that one. Otherwise please ask the owner of the application.

error-store-unavailable-title = We can’t check sessions just now
error-store-unavailable-advice = This is a fault on our side. You have not been signed out. Please try again in a moment.

## Errors: signing in

error-logout-incomplete-title = Signing out could not be completed
error-logout-incomplete-advice = This browser has forgotten your session, but we could not delete our own record of it just now, so the session may live on until it times out. Please tell your administrator if this is a shared or lost computer.

error-idp-unavailable-title = The sign-in service isn’t answering
error-idp-unavailable-advice = We can’t reach the service that looks after company accounts. It is nothing you did. Please try again in a few minutes.

error-login-failed-title = We couldn’t complete your sign-in
error-login-failed-advice = We could not accept the answer from your company’s sign-in service. Please start again. If it keeps happening, give support the reference on this page.

error-login-put-off-title = The sign-in service has a problem
error-login-put-off-advice = Your company’s sign-in service says that it can’t sign anybody in just now. It is nothing you did. Please try again in a few minutes.

error-login-refused-title = The sign-in was not completed
error-login-refused-advice = It was cancelled, or your company’s sign-in service did not allow it. You can start again. If you are turned away once more, please ask the people who look after company accounts.

error-login-expired-title = Please start signing in again
error-login-expired-advice = This sign-in took too long, was already used, or began in another browser. Start again in this browser. Cookies must be allowed for this site.

error-login-loop-title = The sign-in goes round and round
error-login-loop-advice = You were signed in several times within half a minute, and each time the page sent you back to the sign-in. Please check that your browser keeps cookies for this site, then try again. If it goes on, tell support which page it was.

error-login-not-fresh-title = We couldn’t see that you have just signed in
error-login-not-fresh-advice = This sign-in has to be a fresh one, because your sessions were ended or because the page asks for it, and your company’s sign-in service did not tell us that it was. Please start again. If it keeps happening, give support the reference on this page.

error-stronger-login-needed-title = This page needs a stronger sign-in
error-stronger-login-needed-advice = Your company’s sign-in service signed you in, but not in the way that this page asks for, with a second factor for example. Start again and choose that way, if you are offered one. If you have none yet, please ask the people who look after company accounts.

error-login-other-response-mode-title = The sign-in service answered in another form
error-login-other-response-mode-advice = Your company’s sign-in service did not answer in the form that was agreed with it, so we could not accept the sign-in. Only an administrator can put this right: please pass on the reference on this page.

error-login-clock-title = The clocks don’t agree
error-login-clock-advice = Our clock and the clock of your company’s sign-in service show different times, so we could not accept the sign-in. Only an administrator can put this right: please pass on the reference on this page.

## Errors: the request itself

error-bad-request-title = We couldn’t understand that request
error-bad-request-advice = Something in it was missing or not in the form we expected. Please go back and try once more.

error-ambiguous-path-title = This address can be read in two ways
error-ambiguous-path-advice = It holds characters that different systems understand differently, so for safety we did not pass it on. Please open the page from a link inside the application instead.

error-not-found-title = There is no such page here
error-not-found-advice = The address may be incomplete, or the page may have moved.

error-target-too-long-title = That address is too long
error-target-too-long-advice = It can’t be opened as it is. If it holds a search or a filter, please choose less at a time.

error-headers-too-large-title = Your browser keeps too many cookies for this site
error-headers-too-large-advice = Please delete the cookies of { $site } in your browser’s settings, also those of the address that it belongs to, and open the page again. Trying once more without that won’t help.

error-wrong-host-title = This service has another address
error-wrong-host-advice = It can’t be used at the address you opened. Please use the link you were given at work, or ask support for the right address.

error-method-not-allowed-title = This page can’t be used that way
error-method-not-allowed-advice = The address exists, but it does not accept this kind of request. Please go back and use the links and buttons of the application.

error-cross-site-title = A request from another site was refused
error-cross-site-advice = Another website sent this request in your name. We stopped it, and nothing was changed. If you meant to do this, open the application and do it there.

error-request-timeout-title = Your request did not arrive in full
error-request-timeout-advice = Part of what your browser was sending never came, so nothing was done with it. Please check your connection and try again.

error-too-many-scans-title = Others are searching just now
error-too-many-scans-advice = Too many people are searching all sessions at the same time. Please try again in a few seconds.

error-payload-too-large-title = That is too much to send at once
error-payload-too-large-advice = What was sent is larger than this service accepts. Please try a smaller file or fewer items at a time.

## Errors: the application behind us, and ourselves

error-upstream-unavailable-title = The application isn’t answering
error-upstream-unavailable-advice = It can’t be reached just now. Your sign-in is not affected. Please try again in a few minutes. If you were saving something, check first whether it was saved.

error-too-many-streams-title = Too many connections are open
error-too-many-streams-advice = Close other tabs of this application, then try again in a few seconds.
error-upstream-timeout-title = The application took too long to answer
error-upstream-timeout-advice = Your sign-in is not affected. What you asked for may or may not have been done, so please check before you repeat it.

error-internal-title = Something went wrong on our side
error-internal-advice = It is nothing you did. Please try again. If it happens once more, give support the reference on this page.

# Of the administration API: programs show these, and those who write programs read them.
error-token-invalid-title = The token is not known
error-token-invalid-advice = The token of the Authorization header is none of [admin] api_tokens: compare it with the configuration, whole and unchanged. Whoever signs in sends no Authorization header.
error-csrf-token-invalid-title = The X-CSRF-Token is not this session’s
error-csrf-token-invalid-advice = GET /sso/session gives the value of X-CSRF-Token, in the same header; ask again after each sign-in.
api-session-missing-title = No token and no session
api-session-missing-advice = Send a token of [admin] api_tokens as “Authorization: Bearer …”, or the cookie of an administrator’s session with its X-CSRF-Token.
api-session-ended-title = The session is over
api-session-ended-advice = The administrator has to sign in again; machines use a token of [admin] api_tokens.
api-login-too-old-title = The sign-in has to be renewed
api-login-too-old-advice = The provider has to confirm this administrator once more: open the address under “login” in a browser.
api-forbidden-title = Not allowed
api-forbidden-advice = The caller is known, but is in none of the groups that may do this: [admin] groups for sessions, ops_groups for timeouts, idps for whose word on groups counts.
api-store-unavailable-title = The store cannot be asked
api-store-unavailable-advice = Redis did not answer or did not take it; what was ordered may be done in part. Repeating it is safe.
api-bad-request-title = The request cannot be read
api-bad-request-advice = See GET /sso/api/v1/openapi.json.
api-not-found-title = There is none
api-not-found-advice = There is no such address, or no such live session. GET /sso/api/v1/openapi.json names the addresses.
api-method-not-allowed-title = Another method is needed
api-method-not-allowed-advice = GET /sso/api/v1/openapi.json names the methods of each address.
api-cross-site-title = The request does not come from the broker’s own pages
api-cross-site-advice = Its Origin or Sec-Fetch-Site is another site’s. Browsers may call the API from public_url alone; programs send a token and neither header.
api-too-many-scans-title = Too many look through all sessions at once
api-too-many-scans-advice = This broker does two lists by a filter, counts or dry runs at a time that look through all sessions. Repeat the call after Retry-After seconds, or ask for one person.
api-internal-title = A defect of the broker
api-internal-advice = The log has the cause, under the request_id.
