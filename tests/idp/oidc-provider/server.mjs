// panva's certified oidc-provider on loopback, for tests: `node server.mjs [options]`.
// Prints one JSON line when it is ready and ends when its standard input closes.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parse as parseForm } from 'node:querystring';
import { parseArgs } from 'node:util';

// Standard output is for the one line; the provider's notices go to standard error.
console.log = console.info = console.warn = console.error;
URL.parse ??= (...parts) => (URL.canParse(...parts) ? new URL(...parts) : null); // before node 22
const { default: Provider, errors } = await import('oidc-provider');
const { createLocalJWKSet, jwtVerify } = await import('jose');
const exchange = await import('./exchange.mjs');

const { values: options } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    tls: { type: 'string' }, //                        certificate and key in one PEM file
    jwks: { type: 'string' }, //                       public keys of the client key-jwt: a JSON file
    'access-ttl': { type: 'string', default: '3600' }, // seconds, as all of them
    'code-ttl': { type: 'string', default: '60' },
    'device-ttl': { type: 'string', default: '600' },
    'refresh-ttl': { type: 'string', default: '1209600' },
    exchange: { type: 'boolean', default: false }, //  token exchange and JWT bearer, see exchange.mjs
    'no-rotate': { type: 'boolean', default: false }, // the same refresh token again and again
    record: { type: 'string' }, //                     a file that gets each secret, for the canary test
    'auto-approve': { type: 'boolean', default: false }, // no forms: everybody is alice and agrees
  },
});
const seconds = (name) => Number(options[name]);

const SCOPES = ['openid', 'offline_access', 'read', 'write', 'admin'];
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const EXCHANGE = options.exchange ? [exchange.TOKEN_EXCHANGE, exchange.JWT_BEARER] : [];
const LOOPBACK = ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'];

const native = {
  application_type: 'native', // any port of a loopback redirect is accepted
  redirect_uris: LOOPBACK,
  grant_types: ['authorization_code', 'refresh_token', DEVICE, ...EXCHANGE],
  token_endpoint_auth_method: 'none',
};
const confidential = {
  ...native,
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE, ...EXCHANGE],
};
const clients = [
  { client_id: 'cli', ...native },
  {
    client_id: 'device',
    ...native,
    redirect_uris: [],
    response_types: [],
    grant_types: ['refresh_token', DEVICE],
  },
  // RFC 6749, 2.3.1: both halves are form-encoded before they go into the header.
  { client_id: 'basic', client_secret: 'basic-%41+:&-secret', token_endpoint_auth_method: 'client_secret_basic' },
  { client_id: 'post', client_secret: 'post-%41+:&-secret', token_endpoint_auth_method: 'client_secret_post' },
  {
    client_id: 'secret-jwt',
    client_secret: 'secret-jwt-secret-of-more-than-32-bytes',
    token_endpoint_auth_method: 'client_secret_jwt',
  },
  ...(options.jwks
    ? [{
      client_id: 'key-jwt',
      jwks: JSON.parse(readFileSync(options.jwks, 'utf8')),
      token_endpoint_auth_method: 'private_key_jwt',
    }]
    : []),
].map((client) => ({ ...(client.client_secret || client.jwks ? confidential : {}), ...client }));

// https://jwt.*: signed access tokens. https://refused.*: no such resource. Any other: opaque ones.
function getResourceServerInfo(_ctx, resource) {
  const { hostname } = new URL(resource);
  if (hostname.startsWith('refused.')) throw new errors.InvalidTarget();
  return {
    scope: 'read write admin',
    audience: resource,
    accessTokenTTL: seconds('access-ttl'),
    ...(hostname.startsWith('jwt.')
      ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
      : { accessTokenFormat: 'opaque' }),
  };
}

const signingKey = {
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
  alg: 'ES256',
  use: 'sig',
  kid: 'test',
};

const configuration = {
  clients,
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  ...(options.exchange ? { discovery: exchange.metadata } : {}),
  extraTokenClaims: (ctx) => exchanged?.extraTokenClaims(ctx),
  cookies: { keys: [randomBytes(16).toString('hex')] },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: !options['auto-approve'] },
    introspection: { enabled: true, allowedPolicy: () => true },
    pushedAuthorizationRequests: { enabled: false },
    resourceIndicators: { enabled: true, getResourceServerInfo },
    revocation: { enabled: true },
  },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: [signingKey] },
  pkce: { required: () => true },
  rotateRefreshToken: () => !options['no-rotate'],
  scopes: SCOPES,
  ttl: {
    AccessToken: seconds('access-ttl'),
    AuthorizationCode: seconds('code-ttl'),
    ClientCredentials: seconds('access-ttl'),
    DeviceCode: seconds('device-ttl'),
    Grant: 1209600,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: seconds('refresh-ttl'),
    Session: 1209600,
  },
};

// --- what the tests see and steer -------------------------------------------------------------

let counts;
let modes;
let exchanged; // the two grants, where they are on
function reset() {
  counts = { grants: {}, issued: {}, paths: {} };
  modes = {};
  exchanged?.forget();
}
reset();
const count = (table, name) => { table[name] = (table[name] ?? 0) + 1; };

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

async function readBody(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function answer(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(typeof body === 'string' ? body : JSON.stringify(body));
}

// Answers in the provider's place, or returns false: ok, hang, 503 (any status), slow:MS,
// lost (carried out, but the connection breaks before the answer).
async function misbehave(endpoint, res) {
  const mode = modes[endpoint];
  if (!mode || mode.times === 0) return false;
  mode.times -= 1;
  const [word, value] = mode.word.split(':');
  if (word === 'hang') return true;
  if (word === 'slow') await sleep(Number(value));
  if (word === 'lost') res.end = () => res.socket?.destroy();
  if (!/^\d+$/.test(word)) return false;
  answer(res, Number(word), { error: 'temporarily_unavailable' });
  return true;
}

// The body is {"token": "503"}, or with a number of times: {"token": "503*2"}. "ok" ends it.
function setModes(wanted) {
  for (const [endpoint, text] of Object.entries(wanted)) {
    const [word, times] = text.split('*');
    if (!/^(ok|hang|lost|\d{3}|slow:\d+)$/.test(word)) throw new Error(`no mode ${text}`);
    if (word === 'ok') delete modes[endpoint];
    else modes[endpoint] = { word, times: times ? Number(times) : -1 };
  }
}

const keys = createLocalJWKSet({ keys: [{ ...signingKey, d: undefined }] });
const opaque = async (value) => (await provider.AccessToken.find(value)) ?? provider.ClientCredentials.find(value);
const signed = (value) => jwtVerify(value, keys, { issuer: provider.issuer, typ: 'at+jwt' })
  .then(({ payload }) => payload, () => undefined);

async function resource(req, res, url) {
  const [, value = ''] = /^Bearer (.+)$/.exec(req.headers.authorization ?? '') ?? [];
  const token = value.split('.').length === 3 ? await signed(value) : await opaque(value);
  if (!token || (token.exp && token.exp <= Date.now() / 1000)) {
    answer(res, 401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    return;
  }
  const wanted = url.searchParams.get('scope');
  if (wanted && !(token.scope ?? '').split(' ').includes(wanted)) {
    const challenge = `Bearer error="insufficient_scope", scope="${wanted}"`;
    answer(res, 403, { error: 'insufficient_scope' }, { 'www-authenticate': challenge });
    return;
  }
  answer(res, 200, {
    sub: token.accountId ?? token.sub ?? null,
    client_id: token.clientId ?? token.client_id,
    scope: token.scope ?? null,
    aud: token.aud ?? null,
  });
}

// --auto-approve: login and consent to all that is asked for, in one step and without a form.
async function approve(req, res) {
  const { params, grantId } = await provider.interactionDetails(req, res);
  const accountId = params.login_hint ?? 'alice';
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope ?? '');
  for (const indicator of [params.resource ?? []].flat()) grant.addResourceScope(indicator, params.scope ?? '');
  await provider.interactionFinished(req, res, {
    login: { accountId },
    consent: { grantId: await grant.save() },
  });
}

// Notes a secret for the canary test, which searches all that the suite wrote for it.
function note(fields) {
  if (!options.record) return;
  for (const kind of ['access_token', 'refresh_token', 'code_verifier', 'device_code', 'client_secret']) {
    const value = fields[kind];
    if (typeof value === 'string') appendFileSync(options.record, `${JSON.stringify({ kind, value })}\n`);
  }
}

function noteAnswer(res) {
  const { end } = res;
  res.end = (body, ...rest) => {
    try {
      note(JSON.parse(body));
    } catch {
      // not JSON: there is nothing of ours in it
    }
    return end.call(res, body, ...rest);
  };
}

const ENDPOINTS = {
  '/token': 'token',
  '/token/revocation': 'revocation',
  '/token/introspection': 'introspection',
  '/device/auth': 'device',
  '/.well-known/openid-configuration': 'metadata',
  '/.well-known/oauth-authorization-server': 'metadata',
};

async function handle(req, res) {
  const url = new URL(req.url, provider.issuer);
  const { pathname } = url;
  if (pathname === '/__counts') return answer(res, 200, counts);
  if (pathname === '/__reset') return answer(res, 200, (reset(), {}));
  if (pathname === '/__mode') return answer(res, 200, (setModes(JSON.parse(await readBody(req))), modes));
  if (exchanged && pathname === '/__exchanges') return answer(res, 200, { seen: exchanged.seen() });
  if (exchanged && pathname === '/__trust') return answer(res, 200, (exchanged.setTrust(JSON.parse(await readBody(req))), {}));
  if (exchanged && pathname === '/__habits') return answer(res, 200, (exchanged.setHabits(JSON.parse(await readBody(req))), {}));
  if (pathname === '/__resource') return resource(req, res, url);
  if (options['auto-approve'] && pathname.startsWith('/interaction/')) return approve(req, res);

  count(counts.paths, pathname);
  if (pathname === '/token' || pathname === '/device/auth') noteAnswer(res);
  if (pathname === '/token' && req.method === 'POST') {
    req.body = await readBody(req); // the provider takes a body that has been read from here
    const form = parseForm(req.body);
    note(form);
    const grant = form.grant_type ?? '';
    count(counts.grants, grant);
    res.on('finish', () => { if (res.statusCode === 200) count(counts.issued, grant); });
  }
  if (await misbehave(ENDPOINTS[pathname], res)) return undefined;
  return callback(req, res);
}

const secure = options.tls && readFileSync(options.tls);
const server = secure ? https.createServer({ cert: secure, key: secure }) : http.createServer();
server.listen(Number(options.port), options.host);
await new Promise((resolve, reject) => { server.once('listening', resolve).once('error', reject); });

const host = options.host.includes(':') ? `[${options.host}]` : options.host;
const issuer = `${secure ? 'https' : 'http'}://${host}:${server.address().port}`;
const provider = new Provider(issuer, configuration);
if (options.exchange) exchanged = exchange.registerExchange(provider, { errors, getResourceServerInfo, signingKey });
const callback = provider.callback();
provider.on('server_error', (_ctx, error) => console.error(error));
server.on('request', (req, res) => {
  handle(req, res).catch((error) => {
    console.error(error);
    if (!res.headersSent) answer(res, 400, { error: String(error) });
  });
});

clients.forEach(note);
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0));
process.stdout.write(`${JSON.stringify({
  issuer,
  clients: Object.fromEntries(clients.map((c) => [c.client_id, c.client_secret ?? null])),
})}\n`);
