// Loaded into an instance before the function (`--import`). Numbers every point at which the program meets the outside: a
// request just before its bytes leave and just after the answer came (the program has seen nothing of it), and every
// change of a file likewise; and does at one of them what the plan says. It also moves the process's clock.
import dnsPromises from 'node:dns/promises';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { basename, relative } from 'node:path';
import tls from 'node:tls';

/**
 * @typedef {object} Plan
 * @property {string} store the store's folder
 * @property {string} bucket the store's bucket, when it is in one
 * @property {string} prefix what its keys begin with there
 * @property {string} trace the file that takes the points, one a line
 * @property {string} [at] the point
 * @property {'kill' | 'term' | 'stop' | 'full'} [act]
 * @property {number} seed of the delays that decide what goes on at once in which order, and of Math.random
 * @property {number} clock milliseconds that this process's clock is ahead
 * @property {number} [stopped] milliseconds that the clock goes on while the process is stopped
 */

/** @type {Plan} */
const plan = JSON.parse(process.env['SANDBOX_KILL'] ?? '{}');
delete process.env['SANDBOX_KILL'];
delete process.env['NODE_OPTIONS'];

let { clock } = plan;
const RealDate = Date;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [RealDate.now() + clock] : args, newTarget),
  get: (target, name) => (name === 'now' ? () => RealDate.now() + clock : Reflect.get(target, name)),
});

/** mulberry32. */
let state = plan.seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
Math.random = random;

/** Milliseconds: enough to change the order in which things that run at once go on. */
const delay = () => random() * 15;
const pause = () => new Promise((resolve) => setTimeout(resolve, delay()));

/** @type {Map<string, number>} */
const counts = new Map();

/** The next one of its kind. @param {string} kind */
function next(kind) {
  const count = (counts.get(kind) ?? 0) + 1;
  counts.set(kind, count);
  return `${kind} #${count}`;
}

/** @param {string} label @param {'before' | 'after'} side */
function reached(label, side) {
  const point = `${label} ${side}`;
  fs.appendFileSync(plan.trace, `${point}\n`);
  if (point !== plan.at) return;
  if (plan.act === 'kill') process.kill(process.pid, 'SIGKILL');
  if (plan.act === 'term') process.kill(process.pid, 'SIGTERM');
  if (plan.act === 'full') throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  if (plan.act === 'stop') {
    fs.writeSync(1, `${JSON.stringify({ sandbox: 'stopped', pid: process.pid })}\n`);
    process.kill(process.pid, 'SIGSTOP');
    clock += plan.stopped ?? 0;
  }
}

/**
 * @template {unknown[]} A
 * @param {object} holder @param {string} name @param {(...args: A) => string | undefined} kindOf undefined: not counted
 */
function watch(holder, name, kindOf) {
  const original = Reflect.get(holder, name);
  Reflect.set(
    holder,
    name,
    /** @this {unknown} @param {A} args */
    async function watched(...args) {
      const kind = kindOf(...args);
      if (kind === undefined) return Reflect.apply(original, this, args);
      await pause();
      const label = next(kind);
      reached(label, 'before');
      try {
        return await Reflect.apply(original, this, args);
      } finally {
        reached(label, 'after');
      }
    },
  );
}

/** What is different in each run is not part of a point's name. @param {string} path */
const keyOf = (path) => relative(plan.store, path).replaceAll(/[0-9a-f]{16,}/g, '*');

watch(fsPromises, 'rename', (/** @type {string} */ _, /** @type {string} */ path) => `store put ${keyOf(path)}`);
watch(fsPromises, 'link', (/** @type {string} */ _, /** @type {string} */ path) => `store create ${keyOf(path)}`);
watch(fsPromises, 'rm', (/** @type {string} */ path) =>
  basename(path).startsWith(',') ? undefined : `store delete ${keyOf(path)}`,
);
for (const name of ['resolveTxt', 'resolveCname', 'resolveNs', 'resolve4', 'resolve6']) {
  watch(dnsPromises.Resolver.prototype, name, () => `dns ${name}`);
}

/** What a request to the store's bucket does there. @param {import('node:http').ClientRequest} request */
function objectOf(request) {
  // ali-oss sends the bucket's virtual host whatever the endpoint.
  if (!String(request.getHeader('host')).startsWith(`${plan.bucket}.`)) return undefined;
  const { pathname, searchParams } = new URL(request.path, 'http://bucket');
  const listed = searchParams.get('prefix');
  if (listed !== null) return `store list ${keyIn(listed)}`;
  const creates = request.getHeader('x-oss-forbid-overwrite') === 'true';
  return `store ${creates ? 'create' : request.method?.toLowerCase()} ${keyIn(decodeURIComponent(pathname.slice(1)))}`;
}

/** @param {string} key */
const keyIn = (key) => key.slice(plan.prefix.length + 1).replaceAll(/[0-9a-f]{16,}/g, '*');

/** @type {WeakMap<object, string>} */
const labels = new WeakMap();
const { ClientRequest } = http;
const { end, emit } = ClientRequest.prototype;

/** @param {import('node:http').ClientRequest} request @param {unknown} body */
function kindOfRequest(request, body) {
  const object = objectOf(request);
  if (object !== undefined) return object;
  const action = typeof body === 'string' || Buffer.isBuffer(body) ? /(?:^|&)Action=(\w+)/.exec(String(body))?.[1] : '';
  return action ? `cloud ${action}` : `ca ${request.method} ${request.path.split('/')[1]}`;
}

// Both clients of the program hand the whole body to `end`; nothing of a request leaves before.
Reflect.set(
  ClientRequest.prototype,
  'end',
  /** @this {import('node:http').ClientRequest} @param {unknown[]} args */
  function watchedEnd(...args) {
    setTimeout(() => {
      if (this.destroyed) return;
      const label = next(kindOfRequest(this, args[0]));
      labels.set(this, label);
      reached(label, 'before');
      Reflect.apply(end, this, args);
    }, delay());
    return this;
  },
);
Reflect.set(
  ClientRequest.prototype,
  'emit',
  /** @this {import('node:http').ClientRequest} @param {unknown[]} args */
  function watchedEmit(...args) {
    const label = labels.get(this);
    if (args[0] === 'response' && label !== undefined) reached(label, 'after');
    return Reflect.apply(emit, this, args);
  },
);

const { connect } = tls;
Reflect.set(tls, 'connect', (/** @type {unknown[]} */ ...args) => {
  /** @type {import('node:tls').TLSSocket} */
  const socket = Reflect.apply(connect, tls, args);
  const [options] = args;
  // Only the looks at the edges trust everybody; what HTTPS opens is counted as a request.
  if (typeof options !== 'object' || options === null || Reflect.get(options, 'rejectUnauthorized') !== false)
    return socket;
  const label = next('edge handshake');
  reached(label, 'before');
  socket.prependOnceListener('secureConnect', () => reached(label, 'after'));
  return socket;
});

syncBuiltinESMExports();
