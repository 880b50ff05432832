import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { stringify } from 'yaml';
import { CREDENTIALS } from '../sandbox/world.ts';
import { type Figure, OURS, type Scale } from './figures.ts';

const RENEW = new URL('../../dist/renew.mjs', import.meta.url).href;
/** Milliseconds of the bound. */
const BOUND = 150;

/** What Node runs, and what tells that it has come so far. */
const PROGRAMS = {
  peer: `await import('acme-client'); await import('@alicloud/pop-core'); process.stdout.write('ready');`,
  node: `process.stdout.write('ready');`,
};

/** A configuration as a text, and the first request that is waited for. */
interface Start {
  readonly text: (config: object) => string;
  readonly store: string;
  readonly awaited: 'CDN' | 'OSS';
}

const FILE = 'file:///nonexistent/autocert';
const STARTS = {
  'configuration in JSON': { text: JSON.stringify, store: FILE, awaited: 'CDN' },
  'configuration in YAML': { text: stringify, store: FILE, awaited: 'CDN' },
  'store on OSS, to its first read': { text: JSON.stringify, store: 'oss://certificates/autocert', awaited: 'OSS' },
} as const satisfies Record<string, Start>;

/** Milliseconds from the start of a process to the first request of the handler, and to the end of an import. */
export async function cold({ runs, isSmall }: Scale): Promise<Figure[]> {
  const ours = new Map<string, number[]>(Object.keys(STARTS).map((name) => [name, []]));
  const [peer, node]: [number[], number[]] = [[], []];
  // In turn, so that whatever else the machine does meets all of them.
  for (let run = 0; run < (isSmall ? runs : 5 * runs); run += 1) {
    for (const [name, start] of Object.entries(STARTS)) ours.get(name)?.push(await untilFirstRequest(start));
    peer.push(await untilReady(PROGRAMS.peer));
    node.push(await untilReady(PROGRAMS.node));
  }
  return [
    {
      section: 'cold',
      what: 'Cold start: process start to first request, or to the end of the imports',
      unit: 'ms',
      rows: [
        ...[...ours].map(([name, values]) => ({ who: `${OURS}, ${name}`, values })),
        { who: 'importing acme-client and pop-core', values: peer },
        { who: 'Node alone', values: node },
        { who: 'bound', values: [BOUND], isBound: true },
        { who: 'a third of importing both', values: peer.map((value) => value / 3), isBound: true },
      ],
    },
  ];
}

async function untilReady(program: string): Promise<number> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: new URL('../..', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const took = performance.now() - startedAt;
  await ended(child);
  return took;
}

async function untilFirstRequest({ text, store, awaited }: Start): Promise<number> {
  const server = createServer(answerEmptyAccount);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = {
    acme: { directoryUrl: 'https://127.0.0.1:1/dir', contact: ['mailto:ops@example.com'] },
    discover: { include: ['*.example.com'] },
    store,
    endpoints: { cdn: url, alidns: url, oss: url },
  };
  const context = {
    requestId: '00000000-0000-4000-8000-000000000001',
    credentials: CREDENTIALS,
    function: { name: 'autocert-renew', handler: 'renew.handler', memory: 256, timeout: 60 },
    region: 'cn-hangzhou',
    accountId: '1234567890123456',
  };
  const program = `
    const { handler } = await import(${JSON.stringify(RENEW)});
    await handler(Buffer.from('{}'), ${JSON.stringify(context)});`;
  try {
    const arrival = arrivalAt(server, awaited);
    const startedAt = performance.now();
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      env: { PATH: process.env['PATH'] ?? '', AUTOCERT_CONFIG: text(config) },
      stdio: 'ignore',
    });
    await Promise.race([
      arrival,
      once(child, 'exit').then(() => Promise.reject(new Error('the handler ended without a request'))),
    ]);
    const took = performance.now() - startedAt;
    child.kill('SIGKILL');
    await ended(child);
    return took;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** The CDN API is asked by POST, OSS by GET. */
function arrivalAt(server: Server, awaited: Start['awaited']): Promise<void> {
  return new Promise((resolve) => {
    server.on('request', ({ method }: IncomingMessage) => {
      if (awaited === 'CDN' || method === 'GET') resolve();
    });
  });
}

/** To both lists of an account, that there is nothing in it. What OSS is asked stays without an answer. */
function answerEmptyAccount({ method }: IncomingMessage, response: ServerResponse): void {
  if (method !== 'POST') return;
  const page = { RequestId: '1', TotalCount: 0, PageNumber: 1, PageSize: 500 };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...page, Domains: { PageData: [] }, CertInfos: { CertInfo: [] } }));
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
