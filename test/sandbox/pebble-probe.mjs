/** Is this Pebble new enough? */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/**
 * Debian's build calls itself version "dev", so its age shows in what it offers: renewalInfo (2.8) and profiles (2.7).
 *
 * @param {string} path
 * @param {string} openssl
 * @returns {Promise<string | undefined>} What is wrong with it.
 */
export async function problemOfPebble(path, openssl) {
  const folder = await mkdtemp(join(tmpdir(), 'autocert-pebble-probe-'));
  try {
    const certificate = join(folder, 'certificate.pem');
    const privateKey = join(folder, 'key.pem');
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', privateKey];
    const subject = ['-subj', '/CN=probe', '-addext', 'subjectAltName=IP:127.0.0.1'];
    await promisify(execFile)(openssl, ['req', '-x509', ...newKey, '-out', certificate, '-days', '2', ...subject]);
    const port = await freePort();
    const config = join(folder, 'pebble.json');
    const profiles = { probe: { description: 'probe', validityPeriod: 3600 } };
    const pebble = {
      listenAddress: `127.0.0.1:${port}`,
      certificate,
      privateKey,
      httpPort: 5002,
      tlsPort: 5001,
      profiles,
    };
    await writeFile(config, JSON.stringify({ pebble: { ...pebble, retryAfter: { authz: 1, order: 1 } } }));
    return await problemOfDirectory(path, config, `https://127.0.0.1:${port}/dir`, await readFile(certificate));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} path
 * @param {string} config
 * @param {string} url
 * @param {Buffer} ca
 * @returns {Promise<string | undefined>}
 */
async function problemOfDirectory(path, config, url, ca) {
  const child = spawn(path, ['-config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  try {
    const giveUpAt = performance.now() + 20_000;
    while (performance.now() < giveUpAt) {
      const directory = await getDirectory(url, ca);
      if (directory !== undefined) {
        const offersAll = directory.renewalInfo !== undefined && directory.meta?.profiles?.['probe'] !== undefined;
        return offersAll ? undefined : 'it is older than 2.10: its directory lacks renewalInfo or profiles';
      }
      const ended = await Promise.race([closed.then(() => true), sleep(20, false)]);
      if (ended) return `it does not start: ${(await output).join('').slice(-500)}`;
    }
    return 'it does not answer';
  } finally {
    child.kill();
    await closed;
  }
}

/**
 * @param {string} url
 * @param {Buffer} ca
 * @returns {Promise<{ renewalInfo?: string, meta?: { profiles?: Record<string, string> } } | undefined>}
 */
async function getDirectory(url, ca) {
  const call = request(url, { ca, agent: false, headers: { 'user-agent': 'aliyun-cdn-autocert' } }).end();
  try {
    const [response] = await once(call, 'response');
    return JSON.parse(await text(response));
  } catch {
    return undefined;
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}
