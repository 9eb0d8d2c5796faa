// A certified OpenID provider (npm oidc-provider) as an independent counterpart.
//   node oidc_provider.mjs '{"port":0,"client_id":"..","client_secret":"..","redirect_uris":[..]}'
// It lives as long as its stdin stays open, so a crashed test leaves no orphan.

import { createServer } from 'node:http';
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

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

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
  if (method !== 'none') client.client_secret = options.client_secret;
  if (options.backchannel_logout_uri) {
    client.backchannel_logout_uri = options.backchannel_logout_uri;
    // Without it neither ID tokens nor logout tokens carry a sid.
    client.backchannel_logout_session_required = true;
  }
  return client;
}

/** oidc-provider refuses to POST to loopback through its own dispatcher; plain fetch does not. */
function fetchLoopback(url, { dispatcher, ...rest }) {
  return fetch(url, rest);
}

function configuration(options, shared) {
  const cookie = (name) => `op_${shared.port}_${name}`;
  return {
    clients: [clientOf(options)],
    adapter: shared.store.adapter,
    jwks: { keys: shared.keys },
    findAccount,
    fetch: fetchLoopback,
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
    if (ctx.path === '/token') {
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
    keys: [signingKey()],
    cookieKeys: [randomBytes(32).toString('hex')],
    log: [],
  };
  let handler = buildHandler(options, shared);
  server.on('request', (req, res) => handler(req, res));

  const rotateKeys = () => {
    // The newest key signs; older ones stay published, as logout hints still carry them.
    shared.keys.unshift(signingKey());
    handler = buildHandler(options, shared);
    return { kid: shared.keys[0].kid };
  };
  return { ...shared, rotateKeys };
}

function startControl(provider) {
  const routes = {
    'POST /rotate-keys': () => provider.rotateKeys(),
    'POST /end-sessions': ({ account }) => ({ ended: provider.store.endAccount(account) }),
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
