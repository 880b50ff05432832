import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdtemp, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeCa, makeCertificate } from './certificates.ts';
import { freePorts } from './ports.ts';

const FETCHED_TOOLS = fileURLToPath(new URL('../../.sandbox/bin', import.meta.url));
const MISSING =
  'Pebble is not on this machine. `npm run sandbox` and `npm test` fetch it where apt-get exists; elsewhere install ' +
  'pebble 2.10 or newer from https://github.com/letsencrypt/pebble and put it on the PATH.';
const START_ATTEMPTS = 5;
const START_TIMEOUT_MS = 20_000;
const POLL_MS = 20;

/**
 * Runs Pebble until it ends, or until standard input closes, and removes its folder. The pipe closes however the parent
 * dies, also by SIGKILL, so that neither a Pebble nor its files outlive a test.
 */
const SUPERVISOR = `
directory=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
pebble=$!
{ cat <&3; kill "$pebble"; } >/dev/null 2>&1 &
exec 3<&-
wait "$pebble" 2>/dev/null
rm -rf "$directory"
`;

export interface PebbleOptions {
  /** `ip:port` of the DNS server that validation asks, over TCP only; the system's resolver when left out. */
  readonly dnsServer?: string;
  /** Pebble's `PEBBLE_*` variables. Without sleep before a validation, and all else as Pebble has it: 5 % of good nonces refused. */
  readonly env?: Readonly<Record<string, string>>;
  /** Key id to MAC key (base64url). When given, an account needs an external account binding (RFC 8555 section 7.3.4). */
  readonly externalAccountMacKeys?: Readonly<Record<string, string>>;
  /** Profile name to validity in seconds. An order that names no profile gets a random one of these. */
  readonly profiles?: Readonly<Record<string, number>>;
  /** The port of the directory: the place of a Pebble that was closed. Default: a free one. */
  readonly port?: number;
  /** The port of 127.0.0.1, or of whatever the name resolves to, that http-01 is validated at. */
  readonly httpPort?: number;
  readonly domainBlocklist?: readonly string[];
  /** Upper bound of `Retry-After` in seconds, at least 1 (the default): Pebble draws below it and fails at 0. */
  readonly retryAfter?: { readonly authz: number; readonly order: number };
  /** Pebble's `-strict`: what the next versions will no longer accept. */
  readonly strict?: boolean;
}

export interface Pebble {
  readonly directoryUrl: string;
  readonly managementUrl: string;
  /** PEM of the CA that signed the certificate of Pebble's own HTTPS endpoints; not the CA it issues from. */
  readonly caBundle: string;
  /** A file with `caBundle`. */
  readonly caBundlePath: string;
  /** Pebble's output so far, without its date. */
  readonly log: readonly string[];
  /** PEM of the roots that Pebble issues from, the preferred one first; more than one with `PEBBLE_ALTERNATE_ROOTS`. */
  roots(): Promise<string[]>;
  /** PEM of the intermediates, in the order of `roots`. */
  intermediates(): Promise<string[]>;
  /**
   * What renewalInfo (RFC 9773 section 4.2) answers for this certificate from now on. A string is sent as it is, so that
   * it may be no JSON at all.
   */
  setRenewalInfo(certificatePem: string, response: object | string): Promise<void>;
  /** `serial` in hexadecimal, as `X509Certificate.serialNumber` and `openssl x509 -serial` give it. */
  certificateStatus(serial: string): Promise<CertificateStatus>;
  /** Ends Pebble and removes its files; safe to call twice. */
  close(): Promise<void>;
}

export interface CertificateStatus {
  readonly status: 'Valid' | 'Revoked';
  readonly certificatePem: string;
  /** RFC 5280 section 5.3.1 reason code, when revoked. */
  readonly reason: number | undefined;
}

/** Starts a Pebble of its own on free loopback ports and resolves once it answers. */
export async function startPebble(options: PebbleOptions = {}): Promise<Pebble> {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const binary = await findPebble([FETCHED_TOOLS, ...path]);
  for (let attempt = 1; ; attempt++) {
    const directory = await mkdtemp(join(tmpdir(), 'autocert-pebble-'));
    const caBundle = await makeEndpointCertificate(directory);
    const [free, ...others] = await freePorts(4);
    const ports = [options.port ?? free ?? 0, ...others];
    const running = await launch(binary, directory, options, ports);
    const [acme, management] = [`https://127.0.0.1:${ports[0]}`, `https://127.0.0.1:${ports[1]}`];
    const problem = await waitUntilReady(running, [`${acme}/dir`, `${management}/roots/0`], caBundle);
    if (problem === undefined) return connect(running, directory, acme, management, caBundle);
    await running.stop();
    const lostPort = running.log.some((line) => line.includes('address already in use'));
    if (!lostPort || attempt === START_ATTEMPTS) {
      throw new Error(`Pebble did not start: ${problem}\n${running.log.slice(-20).join('\n')}`);
    }
  }
}

interface RunningPebble {
  readonly log: string[];
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

async function launch(
  binary: string,
  directory: string,
  options: PebbleOptions,
  ports: readonly number[],
): Promise<RunningPebble> {
  const [acmePort, managementPort, tlsPort, unusedHttpPort] = ports;
  const profiles = options.profiles ?? { default: 7_776_000, shortlived: 518_400 };
  const configPath = join(directory, 'pebble.json');
  await writeFile(
    configPath,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${acmePort}`,
        managementListenAddress: `127.0.0.1:${managementPort}`,
        certificate: join(directory, 'endpoint.pem'),
        privateKey: join(directory, 'endpoint.key'),
        httpPort: options.httpPort ?? unusedHttpPort,
        tlsPort,
        ocspResponderURL: '',
        externalAccountBindingRequired: options.externalAccountMacKeys !== undefined,
        externalAccountMACKeys: options.externalAccountMacKeys ?? {},
        domainBlocklist: options.domainBlocklist ?? [],
        retryAfter: options.retryAfter ?? { authz: 1, order: 1 },
        keyAlgorithm: 'ecdsa',
        profiles: Object.fromEntries(
          Object.entries(profiles).map(([name, validityPeriod]) => [name, { description: name, validityPeriod }]),
        ),
      },
    }),
  );

  const command = [binary, '-config', configPath];
  if (options.strict) command.push('-strict');
  if (options.dnsServer !== undefined) command.push('-dnsserver', options.dnsServer);
  const child = spawn('/bin/sh', ['-c', SUPERVISOR, 'pebble', directory, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PEBBLE_VA_NOSLEEP: '1', ...options.env },
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const log: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => log.push(line.replace(/^Pebble [\d/]+ [\d:]+ /, '')));
  }
  return {
    log,
    ended,
    stop: () => {
      child.stdin.destroy();
      return ended;
    },
  };
}

/** Resolves to what is wrong, or to undefined once every URL answers 200. */
async function waitUntilReady(
  running: RunningPebble,
  urls: readonly string[],
  caBundle: string,
): Promise<string | undefined> {
  let ended = false;
  void running.ended.then(() => {
    ended = true;
  });
  const giveUpAt = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const answers = await Promise.allSettled(urls.map((url) => send('GET', url, caBundle)));
    const bad = answers.find((answer) => answer.status === 'rejected' || answer.value.status !== 200);
    if (bad === undefined) return undefined;
    if (ended) return 'it ended';
    if (performance.now() > giveUpAt) return bad.status === 'rejected' ? String(bad.reason) : 'it answers no 200';
    await sleep(POLL_MS);
  }
}

function connect(
  running: RunningPebble,
  directory: string,
  acme: string,
  management: string,
  caBundle: string,
): Pebble {
  const ask = async (method: 'GET' | 'POST', path: string, body?: string): Promise<string> => {
    const answer = await send(method, management + path, caBundle, body);
    if (answer.status !== 200) throw new Error(`Pebble answered ${answer.status} to ${path}: ${answer.body}`);
    return answer.body;
  };
  const askAll = async (path: string): Promise<string[]> => {
    const found: string[] = [];
    for (;;) {
      const answer = await send('GET', `${management}${path}${found.length}`, caBundle);
      if (answer.status === 404 && found.length > 0) return found;
      if (answer.status !== 200) throw new Error(`Pebble answered ${answer.status} to ${path}: ${answer.body}`);
      found.push(answer.body);
    }
  };
  return {
    directoryUrl: `${acme}/dir`,
    managementUrl: management,
    caBundle,
    caBundlePath: join(directory, 'ca.pem'),
    log: running.log,
    roots: () => askAll('/roots/'),
    intermediates: () => askAll('/intermediates/'),
    setRenewalInfo: async (certificatePem, response) => {
      const renewalInfo = typeof response === 'string' ? response : JSON.stringify(response);
      await ask(
        'POST',
        '/set-renewal-info/',
        JSON.stringify({ Certificate: certificatePem, ARIResponse: renewalInfo }),
      );
    },
    certificateStatus: async (serial) => {
      const hexadecimal = BigInt(`0x${serial}`).toString(16);
      const answer: { Status: 'Valid' | 'Revoked'; Certificate: string; Reason?: number } = JSON.parse(
        await ask('GET', `/cert-status-by-serial/${hexadecimal}`),
      );
      return { status: answer.Status, certificatePem: answer.Certificate, reason: answer.Reason };
    },
    close: running.stop,
  };
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

function send(method: 'GET' | 'POST', url: string, ca: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Pebble refuses what has no User-Agent (RFC 8555 section 6.1).
    const headers = { 'user-agent': 'aliyun-cdn-autocert tests' };
    const call = request(url, { method, headers, ca, agent: false, timeout: START_TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.once('end', () => resolve({ status: response.statusCode, body: text })).once('error', reject);
    });
    call.once('error', reject).once('timeout', () => call.destroy(new Error(`no answer from ${url}`)));
    call.end(body);
  });
}

/** Writes `ca.pem`, `endpoint.pem` and `endpoint.key`, and gives the CA's PEM. */
async function makeEndpointCertificate(directory: string): Promise<string> {
  const ca = makeCa('Pebble Endpoint CA');
  const endpoint = makeCertificate({
    names: ['localhost', '127.0.0.1'],
    issuer: ca,
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: new Date('2049-01-01T00:00:00Z'),
  });
  await writeFile(join(directory, 'ca.pem'), ca.root);
  await writeFile(join(directory, 'endpoint.pem'), endpoint.chain);
  await writeFile(join(directory, 'endpoint.key'), endpoint.privateKey);
  return ca.root;
}

/** The first executable `pebble` of `folders`; without any, an error that says how to get one. */
export async function findPebble(folders: readonly string[]): Promise<string> {
  for (const folder of folders) {
    const candidate = join(folder, 'pebble');
    const usable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return candidate;
  }
  throw new Error(MISSING);
}
