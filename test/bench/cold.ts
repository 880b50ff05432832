import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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

/** Milliseconds from the start of a process to the first request of the handler, and to the end of an import. */
export async function cold({ runs, isSmall }: Scale): Promise<Figure[]> {
  const values: Record<'ours' | keyof typeof PROGRAMS, number[]> = { ours: [], peer: [], node: [] };
  // In turn, so that whatever else the machine does meets all of them.
  for (let run = 0; run < (isSmall ? runs : 5 * runs); run += 1) {
    values.ours.push(await untilFirstRequest());
    values.peer.push(await untilReady(PROGRAMS.peer));
    values.node.push(await untilReady(PROGRAMS.node));
  }
  return [
    {
      section: 'cold',
      what: 'Cold start: process start to first request, or to the end of the imports',
      unit: 'ms',
      rows: [
        { who: OURS, values: values.ours },
        { who: 'importing acme-client and pop-core', values: values.peer },
        { who: 'Node alone', values: values.node },
        { who: 'bound', values: [BOUND], isBound: true },
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

async function untilFirstRequest(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = {
    acme: { directoryUrl: 'https://127.0.0.1:1/dir', contact: ['mailto:ops@example.com'] },
    discover: { include: ['*.example.com'] },
    store: 'file:///nonexistent/autocert',
    endpoints: { cdn: url, alidns: url },
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
    const arrival = once(server, 'request');
    const startedAt = performance.now();
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      env: { PATH: process.env['PATH'] ?? '', AUTOCERT_CONFIG: JSON.stringify(config) },
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

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
