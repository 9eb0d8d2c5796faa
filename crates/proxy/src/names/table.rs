//! The table of names that do not cross the proxy, for requests and for answers.

/// Request fields that some application trusts, because a proxy is supposed to write them. `*` stands for any ending.
pub const REQUEST: &[&str] = &[
    // The person who asks, in the words of this broker and of other proxies.
    "x-auth-request-*",
    "x-user",
    "x-email",
    "x-access-token",
    "x-jwt-assertion",
    "x-proxy-user",
    "x-proxy-remote-user",
    "kubeflow-userid",
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-group*",
    "x-remote-user*",
    "x-remote-group*",
    "x-remote-extra-*",
    "x-remote-name",
    "x-remote-email",
    "auth-user",
    "x-auth-user*",
    "x-auth-email",
    "x-auth-name",
    "x-auth-group*",
    "x-auth-role*",
    "x-auth-subject",
    "x-webauth-*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-consumer-*",
    "x-credential-identifier",
    "x-anonymous-consumer",
    "x-userinfo",
    "x-pomerium-*",
    "x-vouch-*",
    "oidc-*",
    "x-oidc-*",
    "shib-*",
    "eppn",
    "tailscale-user-*",
    "cf-access-*",
    "x-goog-authenticated-user-*",
    "x-goog-iap-*",
    "x-appengine-*",
    "x-endpoint-api-userinfo",
    "x-apigateway-api-userinfo",
    "x-amzn-oidc-*",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "iv-user*",
    "iv-groups",
    "iv-creds",
    "sm-user*",
    "sm-universalid",
    "oam-remote-user*",
    "osso-*",
    // The name by which the broker's log knows the request.
    "x-request-id",
    // The certificate that the client has shown (RFC 9440, and before it).
    "client-cert*",
    "x-client-cert*",
    "x-client-verify",
    "x-client-dn",
    "x-client-cn",
    "ssl-client-*",
    "x-ssl*",
    "x-arr-clientcert",
    // The request's origin, and its way here (RFC 7239, and before it).
    "forwarded",
    "forwarded-*",
    "x-forwarded*",
    "x-real-ip",
    "x-real-port",
    "x-real-proto",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-addr*",
    "x-remote-ip",
    "remote-addr*",
    "client-ip",
    "proxy-client-ip",
    "wl-proxy-*",
    "true-client-ip",
    "cf-connecting-ip*",
    "cf-pseudo-ipv4",
    "cf-ipcountry",
    "cf-visitor",
    "cloudfront-viewer-address",
    "cloudfront-forwarded-proto",
    "do-connecting-ip",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-envoy-*",
    "x-originating-ip",
    "x-vercel-forwarded-for",
    "x-vercel-ip-*",
    "x-proxyuser-ip",
    "x-scheme",
    "x-url-scheme",
    "x-proto",
    "x-https",
    "front-end-https",
    "x-arr-ssl",
    // The target of the request, in place of the request line and `Host`.
    "x-original-*",
    "x-rewrite-url",
    "x-http-method*",
    "x-method-override",
    "x-host",
    "x-http-host-override",
    "x-script-name",
    "x-invoke-*",
    "x-middleware-subrequest*",
    // Fields that control a server: the variable HTTP_PROXY of CGI programs, and the file that it sends.
    "proxy",
    "x-sendfile-type",
    "x-accel-mapping",
];

/// Answer fields that are reserved for the broker and removed from upstreams' answers.
pub const ANSWER: &[&str] = &[
    // A person's name, and the token of the broker's own forms.
    "x-auth-request-*",
    "x-csrf-token",
    // Rules for the whole origin: the session's cookie with it, its address, where its faults are reported.
    "clear-site-data",
    "alt-svc",
    "nel",
    // Fields that servers in front act on instead of sending the answer.
    "x-accel-redirect",
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-reproxy-file",
    "x-reproxy-url",
];

/// Fields of one hop (RFC 9110 7.6.1), beside whatever `Connection` names, and those that frame a message: written anew
/// for each hop, so that no other spelling of one crosses either.
pub(super) const OF_ONE_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that cross in their own spelling alone: another one is read as theirs by some servers and not by others.
pub(super) const IN_ONE_SPELLING: &[&str] =
    &["authorization", "content-encoding", "content-length", "content-type", "cookie", "expect", "host", "range"];

/// Fields that the broker writes itself, which no configuration takes away.
pub(super) const WRITTEN_BY_THE_BROKER: &[&str] = &["connection", "content-length", "host", "transfer-encoding"];

/// Beginnings, folded, of the fields by which the broker itself speaks to upstreams.
pub(super) const WORD_OF_THE_BROKER: &[&str] = &["xauthrequest", "xforwarded", "forwarded", "xrealip", "xrequestid"];
