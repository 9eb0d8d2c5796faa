// A certified OpenID provider (npm oidc-provider) as an independent counterpart.
//   node oidc_provider.mjs '{"port":0,"client_id":"..","client_secret":"..","redirect_uris":[..]}'
// It lives as long as its stdin stays open, so a crashed test leaves no orphan.

import { createServer, request } from 'node:http';
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { Provider } from 'oidc-provider';
import { Store } from './oidc_store.mjs';

const HOST = '127.0.0.1';

const PEOPLE = {
  alice: { name: 'Alice Kim', groups: ['staff'] },
  bob: { name: 'Bob Lee', groups: ['staff', 'finance'] },
  carol: { name: 'Carol Park', groups: ['staff', 'security'] },
  dave: { name: 'Dave Choi', groups: ['staff', 'ops'] },
};

function findAccount(_ctx, login) {
  // Anybody may log in, so that a load test has as many people as it wants.
  const { name, groups } = Object.hasOwn(PEOPLE, login) ? PEOPLE[login] : { name: login, groups: ['staff'] };
  const claims = {
    sub: login,
    name,
    preferred_username: login,
    email: `${login}@example.test`,
    email_verified: true,
    groups,
  };
  return { accountId: login, claims: () => claims };
}

function signingKey(alg) {
  const { privateKey } = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  }[alg]();
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

const COPIED = [
  'jwks',
  'token_endpoint_auth_signing_alg',
  'request_object_signing_alg',
  'require_signed_request_object',
  'require_pushed_authorization_requests',
  'dpop_bound_access_tokens',
  'id_token_signed_response_alg',
  'userinfo_signed_response_alg',
  'authorization_signed_response_alg',
  'response_modes',
];

function clientOf(options) {
  const method = options.token_endpoint_auth_method ?? 'client_secret_basic';
  const client = {
    client_id: options.client_id,
    redirect_uris: options.redirect_uris,
    post_logout_redirect_uris: options.post_logout_redirect_uris ?? [],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
  };
  if (options.client_secret) client.client_secret = options.client_secret;
  // Public keys of the client, and the metadata that goes to the provider as it is.
  for (const name of COPIED) if (name in options) client[name] = options[name];
  if (options.backchannel_logout_uri) {
    client.backchannel_logout_uri = options.backchannel_logout_uri;
    // Without it neither ID tokens nor logout tokens carry a sid.
    client.backchannel_logout_session_required = true;
  }
  return client;
}

/** oidc-provider refuses to POST to loopback through its own dispatcher; plain fetch does not. */
const fetchLoopback = (shared) => (url, { dispatcher, ...rest }) => {
  const { host, pathname, search } = new URL(url);
  if (!shared.hosts.has(host)) return fetch(url, rest);
  return askByName(host, `http://${shared.hosts.get(host)}${pathname}${search}`, rest);
};

/** What fetch does, but for the host's name, which fetch lets nobody choose. */
async function askByName(host, address, { method, headers, body, signal }) {
  const { headers: given, body: stream } = new Response(body, { headers });
  const content = stream ? await text(stream) : '';
  return new Promise((resolve, reject) => {
    const asked = request(address, { method, headers: { ...Object.fromEntries(given), host }, signal });
    asked.once('error', reject).once('response', async (answer) => {
      const said = await text(answer);
      resolve(new Response(said || null, { status: answer.statusCode }));
    });
    asked.end(content);
  });
}

/** Every proof has to carry a nonce that the provider gave out (RFC 9449 8 and 9). */
function demandNonces() {
  return { nonceSecret: randomBytes(32), requireNonce: () => true };
}

function configuration(options, shared) {
  const cookie = (name) => `op_${shared.port}_${name}`;
  return {
    clients: [clientOf(options)],
    adapter: shared.store.adapter,
    jwks: { keys: shared.keys },
    findAccount,
    fetch: fetchLoopback(shared),
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    scopes: ['openid', 'offline_access'],
    pkce: { required: () => true },
    rotateRefreshToken: () => true,
    ttl: {
      AccessToken: options.access_token_ttl ?? 3600,
      IdToken: 3600,
      RefreshToken: 86_400,
      Grant: 86_400,
      Session: 86_400,
      Interaction: 3600,
    },
    cookies: {
      keys: shared.cookieKeys,
      // Cookies ignore ports: every party on loopback needs names of its own.
      names: { session: cookie('session'), interaction: cookie('interaction'), resume: cookie('resume') },
    },
    features: {
      devInteractions: { enabled: true },
      userinfo: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
      jwtUserinfo: { enabled: 'userinfo_signed_response_alg' in options },
      jwtResponseModes: { enabled: options.jarm === true },
      requestObjects: { enabled: 'request_object_signing_alg' in options },
      pushedAuthorizationRequests: {
        enabled: options.par === true,
        requirePushedAuthorizationRequests: options.require_pushed_authorization_requests === true,
      },
      dPoP: { enabled: true, ...(options.dpop_nonce && demandNonces()) },
    },
  };
}

/** How a caller proved itself, by name only. */
function authScheme(ctx, body) {
  const scheme = ctx.get('authorization').split(' ')[0].toLowerCase();
  if (scheme) return scheme;
  if ('client_assertion' in body) return 'assertion';
  return 'client_secret' in body ? 'post' : 'none';
}

/** Koa middleware that notes what arrived: names of parameters, never their values. */
function recorder(log) {
  return async (ctx, next) => {
    const entry = { method: ctx.method, path: ctx.path, query: Object.keys(ctx.query), body: [] };
    log.push(entry);
    await next();
    const body = ctx.oidc?.body ?? {};
    entry.body = Object.keys(body);
    entry.status = ctx.status;
    entry.dpop = ctx.get('dpop') !== '';
    if (['/token', '/request', '/token/revocation'].includes(ctx.path)) {
      Object.assign(entry, { grant_type: body.grant_type, auth_scheme: authScheme(ctx, body) });
    }
  };
}

function buildHandler(options, shared) {
  const provider = new Provider(shared.issuer, configuration(options, shared));
  provider.use(recorder(shared.log));
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.on('backchannel.error', (_ctx, error) => console.error('back-channel logout:', error.message));
  return provider.callback();
}

/** One key for each algorithm that the client asked for. */
function signingKeys(options) {
  const wanted = [options.id_token_signed_response_alg, options.authorization_signed_response_alg, 'RS256'];
  return [...new Set(wanted.filter(Boolean))].map(signingKey);
}

async function listen(server, port) {
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, HOST, resolve));
  return server.address().port;
}

async function startProvider(options) {
  const server = createServer();
  // The issuer contains the port, so the port comes first.
  const port = await listen(server, options.port ?? 0);
  const shared = {
    port,
    issuer: `http://${HOST}:${port}`,
    store: new Store(),
    keys: signingKeys(options),
    // Names that only the tests know, and the loopback addresses they are reached at.
    hosts: new Map(),
    cookieKeys: [randomBytes(32).toString('hex')],
    log: [],
  };
  let handler = buildHandler(options, shared);
  server.on('request', (req, res) => handler(req, res));

  const rotateKeys = () => {
    // The newest key signs; older ones stay published, as logout hints still carry them.
    shared.keys.unshift(...signingKeys(options));
    handler = buildHandler(options, shared);
    return { kid: shared.keys[0].kid };
  };
  return { ...shared, rotateKeys };
}

function startControl(provider) {
  const routes = {
    'POST /rotate-keys': () => provider.rotateKeys(),
    'POST /end-sessions': ({ account }) => ({ ended: provider.store.endAccount(account) }),
    'POST /hosts': (hosts) => {
      for (const [host, address] of Object.entries(hosts)) provider.hosts.set(host, address);
      return {};
    },
    'GET /log': () => provider.log,
  };
  const server = createServer(async (req, res) => {
    const reply = (status, value) => {
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    try {
      const route = routes[`${req.method} ${req.url}`];
      const body = await text(req);
      if (!route) return reply(404, { error: 'no such control' });
      return reply(200, route(body ? JSON.parse(body) : {}));
    } catch (error) {
      return reply(400, { error: error.message });
    }
  });
  return listen(server, 0);
}

// oidc-provider writes notices with it; stdout belongs to the READY line.
console.info = console.error;
process.stdin.resume().once('close', () => process.exit(0));
const provider = await startProvider(JSON.parse(process.argv[2]));
const controlPort = await startControl(provider);
console.log(`READY ${JSON.stringify({ issuer: provider.issuer, control: `http://${HOST}:${controlPort}` })}`);
