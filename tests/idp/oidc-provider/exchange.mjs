// Token exchange (RFC 8693) and JWT bearer (RFC 7523) as grants of their own for oidc-provider, with
// the grants that one issuer makes out for another: identity chaining's JWT, and the identity
// assertion grant (draft-ietf-oauth-identity-assertion-authz-grant). Whom it believes, and what it
// does otherwise than its peers, is told by a test while it runs: setTrust and setHabits.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, importJWK, jwtVerify, SignJWT } from 'jose';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const TYPE = 'urn:ietf:params:oauth:token-type:';
const ID_JAG = `${TYPE}id-jag`;
const ID_JAG_TYP = 'oauth-id-jag+jwt';
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const SCOPES = ['read', 'write', 'admin'];
const IGNORED = ['openid', 'profile', 'email', 'offline_access']; // asked for by habit, never granted here
const GRANT_TTL = 300; // seconds that a grant for another issuer lives
const SKEW = 60; // seconds that another's clock may be ahead

export const metadata = {
  identity_chaining_requested_token_types_supported: [ID_JAG, `${TYPE}jwt`],
  authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
};

const now = () => Math.floor(Date.now() / 1000);
const list = (value) => (value === undefined ? [] : [value].flat());
const words = (text) => (text ?? '').split(' ').filter(Boolean);

// Loads a JWKS: the object itself, a file, or what a URL gives, each time anew.
async function loadKeys({ jwks, ca_file: caFile }) {
  if (typeof jwks !== 'string') return jwks;
  if (!/^https?:/.test(jwks)) return JSON.parse(readFileSync(jwks, 'utf8'));
  const client = jwks.startsWith('https:') ? https : http;
  const ca = caFile ? readFileSync(caFile) : undefined;
  return new Promise((resolve, reject) => {
    client.get(jwks, { ca, agent: false }, async (res) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      try {
        resolve(JSON.parse(text));
      } catch (error) {
        reject(error);
      }
    }).on('error', reject);
  });
}

export function registerExchange(provider, { errors, getResourceServerInfo, signingKey }) {
  let trusted = []; //  who signs what is believed, see issuer.py for the members
  let habits = {};
  let seen = []; //     each request of the two grants, with its proven claims
  const used = new Set();
  const acts = new WeakMap(); // of a request: the act claim of its token

  const refuse = (why, code) => new errors.CustomOIDCProviderError(code ?? habits.refusal ?? 'invalid_request', why);

  // --- what is shown ----------------------------------------------------------------------------

  function useOnce({ iss, jti }) {
    const name = `${iss} ${jti}`;
    if (!jti) throw refuse('jti is missing', 'invalid_grant');
    if (used.has(name)) throw refuse('jti was used before', 'invalid_grant');
    used.add(name);
  }

  async function verify(jwt, keys, checks) {
    const { payload } = await jwtVerify(jwt, createLocalJWKSet(keys), {
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'iat', 'sub'],
      ...checks,
    });
    if (payload.iat > now() + SKEW) throw new Error('iat is in the future');
    return payload;
  }

  function signerOf(jwt) {
    const { iss } = decodeJwt(jwt);
    const found = trusted.find(({ issuer }) => issuer === iss);
    if (!found) throw new Error('its issuer is not trusted');
    return found;
  }

  async function foreign(jwt, type) {
    const signer = signerOf(jwt);
    if (!signer.types.includes(type)) throw new Error('not this type from this issuer');
    if (decodeProtectedHeader(jwt).typ === ID_JAG_TYP) throw new Error('a grant is no subject');
    const claims = await verify(jwt, await loadKeys(signer), {
      issuer: signer.issuer,
      audience: signer.audience ?? provider.issuer,
      maxTokenAge: signer.max_age_s ?? undefined,
    });
    return { claims, signer, scopes: signer.scopes };
  }

  const ownKeys = { keys: [{ ...signingKey, d: undefined }] };

  async function ownToken(Model, value, client) {
    const token = await Model.find(value);
    if (!token?.isValid) throw new Error('it is not alive');
    if (Model === provider.RefreshToken && token.clientId !== client) throw new Error('it is not this client\'s');
    const claims = { iss: provider.issuer, sub: token.accountId ?? token.clientId, ...token.extra };
    return { claims, scopes: [...token.scopes], own: Model.name };
  }

  // Verifies a subject's or actor's token; returns its claims, its signer, and what bounds the scopes.
  async function prove(value, type, client) {
    if (type === `${TYPE}refresh_token`) return ownToken(provider.RefreshToken, value, client);
    if (type === `${TYPE}access_token` && value.split('.').length !== 3) {
      const found = await provider.AccessToken.find(value);
      return ownToken(found ? provider.AccessToken : provider.ClientCredentials, value);
    }
    if (decodeJwt(value).iss !== provider.issuer) return foreign(value, type);
    if (type === `${TYPE}id_token`) return { claims: await verify(value, ownKeys, { issuer: provider.issuer, audience: client }) };
    const claims = await verify(value, ownKeys, { issuer: provider.issuer, typ: 'at+jwt' });
    return { claims, scopes: words(claims.scope), own: 'AccessToken' };
  }

  async function proveNamed(ctx, name) {
    const { [`${name}_token`]: value, [`${name}_token_type`]: type } = ctx.oidc.params;
    if (!value !== !type) throw refuse(`${name}_token and ${name}_token_type go together`, 'invalid_request');
    if (!value) return undefined;
    let proven;
    try {
      proven = await prove(value, type, ctx.oidc.client.clientId);
    } catch (error) {
      throw refuse(`${name}_token: ${error.message}`);
    }
    if (proven.signer?.once) useOnce(proven.claims);
    return proven;
  }

  // RFC 8693, 4.1 and 4.4: the newest actor is outermost, and must be the one that may act.
  function actOf(subject, actor) {
    if (!actor) return subject.act;
    const { may_act: may } = subject;
    if (may && (may.sub !== actor.sub || (may.iss ?? actor.iss) !== actor.iss)) throw refuse('this actor may not act');
    return { sub: actor.sub, iss: actor.iss, ...(subject.act ? { act: subject.act } : {}) };
  }

  // --- what is given ----------------------------------------------------------------------------

  function grantedScopes(ctx, bound, known = SCOPES) {
    const asked = words(ctx.oidc.params.scope).filter((scope) => !IGNORED.includes(scope));
    const most = bound ?? known;
    if (asked.some((scope) => !most.includes(scope) || !known.includes(scope))) {
      throw new errors.InvalidScope('more than may be had', asked.join(' '));
    }
    if (habits.scope) return words(habits.scope);
    return asked.length ? asked : most.filter((scope) => known.includes(scope)).slice(0, bound ? undefined : 1);
  }

  async function resourceServer(ctx, target) {
    if (/^https?:/.test(target)) return getResourceServerInfo(ctx, target);
    if (target.startsWith('refused')) throw new errors.InvalidTarget();
    return { scope: SCOPES.join(' '), audience: target, accessTokenFormat: 'opaque' };
  }

  async function newGrant(ctx, sub, scopes, resources) {
    const grant = new provider.Grant({ accountId: sub, clientId: ctx.oidc.client.clientId });
    grant.addOIDCScope(scopes.join(' '));
    resources.forEach((resource) => grant.addResourceScope(resource, scopes.join(' ')));
    return grant.save();
  }

  async function giveAccess(ctx, { sub, act, scopes, resources, audiences, gty }) {
    const targets = [...new Set([...resources, ...audiences])];
    const { client } = ctx.oidc;
    const grantId = await newGrant(ctx, sub, scopes, resources);
    const token = new provider.AccessToken({ client, accountId: sub, grantId, gty, scope: scopes.join(' ') || undefined });
    for (const target of targets.toReversed()) {
      token.resourceServer = new provider.ResourceServer(target, await resourceServer(ctx, target));
    }
    if (targets.length > 1) token.aud = targets;
    if (act) acts.set(ctx, { act });
    const answer = {
      access_token: await token.save(),
      token_type: 'Bearer',
      expires_in: token.expiration,
      scope: token.scope,
    };
    if (habits.refresh_token) {
      const refresh = new provider.RefreshToken({ client, accountId: sub, grantId, gty, scope: token.scope, resource: resources[0] });
      answer.refresh_token = await refresh.save();
    }
    return answer;
  }

  // A grant for another issuer: an identity assertion grant, or identity chaining's plain JWT.
  async function giveGrant(ctx, { sub, act, scopes, resources, audiences, isIdJag }) {
    if (audiences.length !== 1) throw refuse('a grant is for one audience', 'invalid_request');
    const [audience] = audiences;
    if (audience.includes('refused')) throw new errors.InvalidTarget();
    const { clientId } = ctx.oidc.client;
    const claims = {
      ...(isIdJag ? { client_id: habits.clients?.[audience] ?? clientId } : {}),
      ...(resources.length ? { resource: resources.length > 1 ? resources : resources[0] } : {}),
      ...(scopes.length ? { scope: scopes.join(' ') } : {}),
      ...(act ? { act } : {}),
    };
    const ttl = habits.grant_ttl ?? GRANT_TTL;
    const jwt = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: signingKey.kid, typ: isIdJag ? ID_JAG_TYP : 'JWT' })
      .setIssuer(provider.issuer).setSubject(sub).setAudience(audience)
      .setJti(randomUUID()).setIssuedAt(now()).setExpirationTime(now() + ttl)
      .sign(await importJWK(signingKey, 'ES256'));
    return { access_token: jwt, token_type: 'N_A', expires_in: ttl, scope: claims.scope };
  }

  function answer(ctx, given) {
    const changed = Object.entries({ ...given, ...habits.answer }).filter(([, value]) => value !== null && value !== undefined);
    ctx.body = Object.fromEntries(changed);
  }

  function watch(ctx, more) {
    const { grant_type, scope, requested_token_type, subject_token_type, actor_token_type } = ctx.oidc.params;
    const entry = {
      grant_type,
      client_id: ctx.oidc.client.clientId,
      scope,
      requested_token_type,
      subject_token_type,
      actor_token_type,
      audience: list(ctx.oidc.params.audience),
      resource: list(ctx.oidc.params.resource),
      ...more,
      is_given: false,
    };
    seen.push(entry);
    return entry;
  }

  function targetsOf(ctx) {
    const resources = list(ctx.oidc.params.resource);
    if (resources.some((resource) => !URL.canParse(resource) || resource.includes('#'))) throw new errors.InvalidTarget();
    return { resources, audiences: list(ctx.oidc.params.audience) };
  }

  // --- the two grants ---------------------------------------------------------------------------

  async function exchange(ctx) {
    const { requested_token_type: wanted = `${TYPE}access_token` } = ctx.oidc.params;
    const entry = watch(ctx);
    const isGrant = [ID_JAG, `${TYPE}jwt`].includes(wanted);
    if (!isGrant && wanted !== `${TYPE}access_token`) throw refuse('requested_token_type is not supported', 'invalid_request');
    const targets = targetsOf(ctx);
    const subject = await proveNamed(ctx, 'subject');
    if (!subject) throw refuse('subject_token is missing', 'invalid_request');
    if (wanted === ID_JAG && subject.own === 'AccessToken') throw refuse('an access token is no identity assertion');
    const actor = await proveNamed(ctx, 'actor');
    const act = actOf(subject.claims, actor?.claims);
    Object.assign(entry, { subject: subject.claims, actor: actor?.claims, act });
    const scopes = isGrant
      ? words(habits.scope ?? ctx.oidc.params.scope)
      : grantedScopes(ctx, subject.scopes);
    const what = { sub: subject.claims.sub, act, scopes, ...targets };
    const given = isGrant
      ? await giveGrant(ctx, { ...what, isIdJag: wanted === ID_JAG })
      : await giveAccess(ctx, { ...what, gty: 'token_exchange' });
    Object.assign(entry, { is_given: true, given: given.access_token });
    answer(ctx, { ...given, issued_token_type: wanted });
  }

  // The draft's rules for an identity assertion grant: one audience, this issuer; this very client.
  function checkIdJag(ctx, { aud, client_id: client }, signer) {
    if (!signer.id_jag) throw new Error('no identity assertion grants from this issuer');
    if (signer.confidential && ctx.oidc.client.clientAuthMethod === 'none') throw new Error('a public client');
    if (list(aud).length !== 1 || list(aud)[0] !== provider.issuer) throw new Error('aud is not this issuer alone');
    if (client !== ctx.oidc.client.clientId) throw new Error('it is another client\'s');
  }

  async function proveAssertion(ctx, assertion) {
    const signer = signerOf(assertion);
    const { typ } = decodeProtectedHeader(assertion);
    const isIdJag = typ === ID_JAG_TYP;
    if (!isIdJag && typ !== undefined && typ.toUpperCase() !== 'JWT') throw new Error('not this typ');
    const claims = await verify(assertion, await loadKeys(signer), {
      issuer: signer.issuer,
      audience: isIdJag ? provider.issuer : signer.audience ?? provider.issuer,
      requiredClaims: isIdJag ? ['exp', 'iat', 'sub', 'jti', 'client_id'] : ['exp', 'sub'],
    });
    if (isIdJag) checkIdJag(ctx, claims, signer);
    else if (!signer.assertions) throw new Error('no plain assertions from this issuer');
    return { claims, signer, isIdJag };
  }

  async function bearer(ctx) {
    const { assertion } = ctx.oidc.params;
    const entry = watch(ctx);
    const targets = targetsOf(ctx);
    if (!assertion) throw refuse('assertion is missing', 'invalid_request');
    let proven;
    try {
      proven = await proveAssertion(ctx, assertion);
    } catch (error) {
      throw refuse(`assertion: ${error.message}`, 'invalid_grant');
    }
    const { claims, signer, isIdJag } = proven;
    entry.assertion = claims;
    if (signer.once ?? isIdJag) useOnce(claims);
    if (!targets.resources.length) targets.resources = list(claims.resource);
    const bound = claims.scope ? words(claims.scope) : signer.scopes;
    const scopes = grantedScopes(ctx, bound);
    const given = await giveAccess(ctx, { sub: claims.sub, act: claims.act, scopes, ...targets, gty: 'jwt_bearer' });
    Object.assign(entry, { is_given: true, given: given.access_token });
    answer(ctx, given);
  }

  const manyTimes = ['audience', 'resource'];
  const subjectParams = ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type'];
  provider.registerGrantType(TOKEN_EXCHANGE, exchange, [...subjectParams, ...manyTimes, 'scope'], manyTimes);
  provider.registerGrantType(JWT_BEARER, bearer, ['assertion', ...manyTimes, 'scope'], manyTimes);

  return {
    extraTokenClaims: (ctx) => acts.get(ctx),
    setTrust: (entries) => { trusted = entries; },
    setHabits: (changes) => { habits = changes; },
    seen: () => seen,
    forget: () => { seen = []; habits = {}; },
  };
}
