"""An OpenID provider built on idpyoidc (PyPI), as a second opinion beside oidc-provider: other authors, another language.

    idpyoidc_provider.py '{"client_id": "..", "client_secret": "..", "redirect_uri": "..", "signed_out_uri": ".."}'

Everybody is Diana, and nobody is asked. It prints one `READY {"issuer": ".."}` line and lives as long as its stdin
stays open.
"""

import json
import logging
import os
import sys
import tempfile
import threading

from flask import Flask, Response, jsonify, make_response, redirect, request
from idpyoidc.message.oidc import AccessTokenRequest
from idpyoidc.server import Server
from idpyoidc.server.configure import OPConfiguration
from idpyoidc.server.oidc.session import Session
from idpyoidc.server.oidc.token import Token
from waitress.server import create_server

OPTIONS = json.loads(sys.argv[1])
DIANA = {
    "diana": {
        "sub": "diana-1",
        "name": "Diana Prince",
        "preferred_username": "diana",
        "email": "diana@example.test",
        "email_verified": True,
    }
}
ENDPOINTS = {
    "provider_config": (".well-known/openid-configuration", "oidc.provider_config.ProviderConfiguration", None),
    "authorization": ("authorization", "oidc.authorization.Authorization", None),
    "token": ("token", "oidc.token.Token", ["client_secret_basic", "client_secret_post", "private_key_jwt"]),
    "userinfo": ("userinfo", "oidc.userinfo.UserInfo", ["bearer_header"]),
    "session": ("session", None, None),
}
MORE = {
    "authorization": {"response_modes_supported": ["query", "form_post"]},
    "session": {"logout_verify_url": "verify_logout", "post_logout_uri_path": "post_logout", "signing_alg": "RS256"},
}


class OpenSession(Session):
    """Its logout, without its attempt to authenticate whatever client the browser's request names."""

    def client_authentication(self, *_arguments, **_more):
        return {}


def endpoint(name):
    path, kind, methods = ENDPOINTS[name]
    settings = {"client_authn_method": methods, **MORE.get(name, {})}
    return {"path": path, "class": f"idpyoidc.server.{kind}" if kind else OpenSession, "kwargs": settings}


def configuration(issuer):
    # Its access tokens are signed with ES256, its ID tokens with RS256.
    keys = [{"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}]
    symmetric = [{"type": "oct", "bytes": 24, "use": ["enc"], "kid": kid} for kid in ("code", "refresh")]
    mints = {
        "authorization_code": {"supports_minting": ["access_token", "refresh_token", "id_token"], "max_usage": 1},
        "access_token": {},
        "refresh_token": {"supports_minting": ["access_token", "refresh_token", "id_token"]},
    }
    return {
        "issuer": issuer,
        "entity_id": issuer,
        "keys": {"uri_path": "jwks", "key_defs": keys},
        "add_on": {
            "pkce": {
                "function": "idpyoidc.server.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": True, "code_challenge_method": "S256"},
            }
        },
        "authz": {
            "class": "idpyoidc.server.authz.AuthzHandling",
            "kwargs": {"grant_config": {"usage_rules": mints, "expires_in": 43200}},
        },
        "authentication": {
            "anybody": {
                "acr": "urn:oasis:names:tc:SAML:2.0:ac:classes:InternetProtocolPassword",
                "class": "idpyoidc.server.user_authn.user.NoAuthn",
                "kwargs": {"user": "diana"},
            }
        },
        "cookie_handler": {
            "class": "idpyoidc.server.cookie_handler.CookieHandler",
            "kwargs": {
                "keys": {"key_defs": [{"type": "OCT", "use": [use], "kid": use} for use in ("enc", "sig")]},
                "name": {"session": "op_session", "register": "op_register", "session_management": "op_management"},
            },
        },
        "endpoint": {name: endpoint(name) for name in ENDPOINTS},
        "token_handler_args": {
            "key_conf": {"key_defs": symmetric},
            "code": {"lifetime": 600},
            "token": {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 3600}},
            "refresh": {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 86400}},
            "id_token": {"class": "idpyoidc.server.token.id_token.IDToken", "kwargs": {}},
        },
        "userinfo": {"class": "idpyoidc.server.user_info.UserInfo", "kwargs": {"db": DIANA}},
    }


def provider(issuer):
    # Whatever it writes to files goes with the process.
    folder = tempfile.mkdtemp(prefix="counterfoil-idpyoidc-")
    server = Server(OPConfiguration(conf=configuration(issuer), base_path=folder), cwd=folder)
    server.context.cdb[OPTIONS["client_id"]] = {
        "client_secret": OPTIONS["client_secret"],
        "redirect_uris": [(OPTIONS["redirect_uri"], {})],
        "post_logout_redirect_uri": [OPTIONS["signed_out_uri"], ""],
        "client_salt": "salted",
        "token_endpoint_auth_method": "client_secret_basic",
        "response_types_supported": ["code"],
        "allowed_scopes": ["openid", "profile", "email", "offline_access"],
    }
    server.keyjar.add_symmetric(OPTIONS["client_id"], OPTIONS["client_secret"])
    return server


app = Flask(__name__)
LOG = []


def serve(name):
    """What idpyoidc's own Flask example does for an endpoint."""
    part = app.server.get_endpoint(name)
    asked = request.args.to_dict() if request.method == "GET" else request.form.to_dict()
    LOG.append({"method": request.method, "path": request.path, "parameters": list(asked)})
    seen = {
        "headers": {key: value for key, value in request.headers.items(lower=True) if key not in ("cookie", "user-agent")},
        "method": request.method,
        "url": request.url,
        "cookie": [{"name": key, "value": value} for key, value in request.cookies.items()],
    }
    try:
        parsed = part.parse_request(asked, http_info=seen)
        if "error" in parsed:
            return Response(parsed.to_json(), 400, content_type="application/json")
        if isinstance(part, Token):
            parsed = AccessTokenRequest(**parsed)
        answered = part.process_request(parsed, http_info=seen)
    except Exception as error:  # as the example does: whatever it is, it is the request's fault
        logging.exception(name)
        return jsonify(error="invalid_request", error_description=str(error)), 400
    if "error" in answered:
        return jsonify(error=answered["error"]), 400
    if "redirect_location" in answered:
        return redirect(answered["redirect_location"])
    info = part.do_response(request=parsed, **answered)
    if info.get("response_placement", part.response_placement) == "body":
        response = make_response(info["response"], info.get("response_code", 200))
    else:
        response = redirect(info["response"])
    for key, value in info["http_headers"]:
        response.headers[key] = value
    for cookie in info.get("cookie", []):
        response.set_cookie(cookie["name"], cookie["value"], path="/", samesite="Lax")
    return response


for endpoint_name, (path, _, _) in ENDPOINTS.items():
    app.add_url_rule(f"/{path}", endpoint_name, lambda name=endpoint_name: serve(name), methods=["GET", "POST"])


@app.get("/jwks")
def jwks():
    return jsonify(json.loads(app.server.keyjar.export_jwks_as_json()))


@app.get("/verify_logout")
def verify_logout():
    part = app.server.get_endpoint("session")
    asked = part.unpack_signed_jwt(request.args["sjwt"])
    part.do_verified_logout(alla=True, **asked)
    return redirect(asked["redirect_uri"])


@app.get("/log")
def log():
    return jsonify(LOG)


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


listener = create_server(app, host="127.0.0.1", port=0)
ISSUER = f"http://127.0.0.1:{listener.effective_port}"
app.server = provider(ISSUER)
threading.Thread(target=end_with_the_test, daemon=True).start()
print("READY " + json.dumps({"issuer": ISSUER}), flush=True)
listener.run()
