"""A plain OAuth 2.0 provider built on Authlib, with the habits of providers that grew before OpenID Connect.

    authlib_provider.py '{"client_id": "..", "client_secret": "..", "redirect_uri": "..", "habits": ["numeric_ids"]}'

It prints one `READY {"base": ".."}` line and lives as long as its stdin stays open. Habits are listed in HABITS.
"""

import json
import os
import sys
import threading
import time
from urllib.parse import urlencode

# It is plain HTTP on loopback.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Flask, Response, jsonify, request
from waitress.server import create_server

HABITS = {
    "numeric_ids",  # people are numbers, not texts
    "null_email",  # the profile says "email": null; addresses are at /user/emails
    "form_answers",  # token answers are forms, unless JSON is asked for by name
    "errors_with_200",  # refusals of the token endpoint have status 200
    "no_expires_in",  # nobody is told how long a token lives
    "comma_scopes",  # scopes come back separated by commas
    "post_only",  # the client's secret is taken from the body alone
}

OPTIONS = json.loads(sys.argv[1])
ON = set(OPTIONS.get("habits", []))
if not ON <= HABITS:
    sys.exit(f"unknown habits: {ON - HABITS}")

PEOPLE = {
    "alice": {"id": 583231, "login": "alice", "name": "Alice Kim", "email": "alice@example.test"},
    "bob": {"id": 583232, "login": "bob", "name": "Bob Lee", "email": "bob@example.test"},
}
CODES, TOKENS, LOG = {}, [], []


class Client(ClientMixin):
    """The one registered client."""

    def get_client_id(self):
        return OPTIONS["client_id"]

    def get_default_redirect_uri(self):
        return OPTIONS["redirect_uri"]

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == OPTIONS["redirect_uri"]

    def check_client_secret(self, client_secret):
        return client_secret == OPTIONS["client_secret"]

    def check_endpoint_auth_method(self, method, endpoint):
        allowed = ["client_secret_post"] if "post_only" in ON else ["client_secret_basic", "client_secret_post"]
        return method in allowed

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type in ("authorization_code", "refresh_token")


class Code:
    """A code that was given out: what Authlib asks of one."""

    def __init__(self, asked, user, code):
        payload = asked.payload
        self.code, self.user = code, user
        self.redirect_uri, self.scope = payload.redirect_uri, payload.scope
        self.code_challenge = payload.data.get("code_challenge")
        self.code_challenge_method = payload.data.get("code_challenge_method")

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Token(TokenMixin):
    """A token that was given out."""

    def __init__(self, values, user):
        self.values, self.user, self.issued_at, self.revoked = values, user, time.time(), False

    def check_client(self, client):
        return client.get_client_id() == OPTIONS["client_id"]

    def get_scope(self):
        return self.values.get("scope", "")

    def get_expires_in(self):
        return self.values.get("expires_in", 3600)

    def is_expired(self):
        return time.time() > self.issued_at + self.get_expires_in()

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return Client()


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """Codes that work once."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def save_authorization_code(self, code, request):
        CODES[code] = Code(request, request.user, code)

    def query_authorization_code(self, code, client):
        return CODES.get(code)

    def delete_authorization_code(self, authorization_code):
        CODES.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code):
        return authorization_code.user


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """Refresh tokens that work once."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        found = (token for token in TOKENS if token.values.get("refresh_token") == refresh_token)
        return next((token for token in found if not token.revoked), None)

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        refresh_token.revoked = True


class KnownTokens(BearerTokenValidator):
    """Access tokens that this process gave out."""

    def authenticate_token(self, token_string):
        return next((token for token in TOKENS if token.values["access_token"] == token_string), None)


app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
server = AuthorizationServer(
    app,
    query_client=lambda client_id: Client() if client_id == OPTIONS["client_id"] else None,
    save_token=lambda values, asked: TOKENS.append(Token(values, asked.user)),
)
server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True)])
server.register_grant(RefreshTokenGrant)
guarded = ResourceProtector()
guarded.register_token_validator(KnownTokens())


@app.before_request
def note():
    """Names of parameters, never their values."""
    LOG.append({
        "method": request.method,
        "path": request.path,
        "query": list(request.args),
        "body": list(request.form),
        "accept": request.headers.get("accept", ""),
        "auth_scheme": request.headers.get("authorization", "none").split(" ")[0].lower(),
    })


@app.get("/authorize")
def ask_who():
    try:
        server.get_consent_grant()
    except OAuth2Error as error:
        return jsonify(dict(error.get_body())), 400
    return '<form method="post"><input name="account"><button>Continue</button></form>'


@app.post("/authorize")
def authorize():
    person = request.form.get("account")
    grant = server.get_consent_grant()
    return server.create_authorization_response(grant_user=person if person in PEOPLE else None, grant=grant)


@app.post("/token")
def token():
    response = server.create_token_response()
    answer = json.loads(response.get_data())
    status = response.status_code
    if "error" in answer and "errors_with_200" in ON:
        status = 200
    if "no_expires_in" in ON:
        answer.pop("expires_in", None)
    if "comma_scopes" in ON and "scope" in answer:
        answer["scope"] = ",".join(answer["scope"].split())
    if "form_answers" in ON and "application/json" not in request.headers.get("accept", ""):
        return Response(urlencode(answer), status, content_type="application/x-www-form-urlencoded")
    return Response(json.dumps(answer), status, content_type="application/json; charset=utf-8")


@app.get("/user")
@guarded()
def profile():
    person = dict(PEOPLE[current_token.user])
    if "numeric_ids" not in ON:
        person["id"] = f"user-{person['id']}"
    if "null_email" in ON:
        person["email"] = None
    return jsonify(person)


@app.get("/user/emails")
@guarded("user:email")
def emails():
    address = PEOPLE[current_token.user]["email"]
    other = {"email": "other@example.test", "primary": False, "verified": False}
    return jsonify([other, {"email": address, "primary": True, "verified": True}])


@app.get("/user/orgs")
@guarded()
def organisations():
    return jsonify([{"id": 1, "login": "staff"}, {"id": 2, "login": "finance"}])


@app.get("/log")
def log():
    return jsonify(LOG)


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


listener = create_server(app, host="127.0.0.1", port=0)
threading.Thread(target=end_with_the_test, daemon=True).start()
print("READY " + json.dumps({"base": f"http://127.0.0.1:{listener.effective_port}"}), flush=True)
listener.run()
