import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Deps } from '../../src/deps.ts';

/** One request as it arrived. */
export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  /** The form in the body. */
  readonly form: URLSearchParams;
  /** From 1, over the life of the server. */
  readonly nth: number;
}

export interface Loopback {
  readonly url: string;
  readonly received: readonly Received[];
  /** Sockets that are open at this moment. */
  openSockets(): number;
  close(): Promise<void>;
}

/** A raw HTTP server that answers whatever the situation needs, defects included. */
export async function listen(answer: (request: Received, response: ServerResponse) => void): Promise<Loopback> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming;
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      const request = { method, url, headers, form, nth: received.length + 1 };
      received.push(request);
      answer(request, response);
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    openSockets: () => sockets.size,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

export function json(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** An error answer as the documentation has it. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  json(
    response,
    status,
    { RequestId: 'E-1', HostId: 'cdn.aliyuncs.com', Code: code, Message: `about ${code}` },
    headers,
  );
}

export interface SteppedDeps extends Deps {
  /** Every wait that was asked for, in milliseconds. */
  readonly waits: readonly number[];
  /** Every log call: level, event, fields. */
  readonly lines: readonly (readonly [string, string, Record<string, unknown> | undefined])[];
}

/** A clock that stands still but for the waits, which take no time; `random` is always 0.5. */
export function steppedDeps(options: { readonly start?: Date; readonly seconds?: number } = {}): SteppedDeps {
  let at = (options.start ?? new Date('2026-01-02T03:04:05Z')).getTime();
  const waits: number[] = [];
  const lines: [string, string, Record<string, unknown> | undefined][] = [];
  const write = (level: string) => (event: string, fields?: Record<string, unknown>) => {
    lines.push([level, event, fields]);
  };
  return {
    now: () => new Date(at),
    random: () => 0.5,
    sleep: async (milliseconds) => {
      waits.push(milliseconds);
      // As with a timer: whatever can go on does so before time does.
      await new Promise((resolve) => setImmediate(resolve));
      at += milliseconds;
    },
    deadline: new Date(at + (options.seconds ?? 600) * 1_000),
    log: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
    waits,
    lines,
  };
}

/** The real clock, with a deadline so many seconds away. */
export function realDeps(seconds = 60): Deps {
  const quiet = () => undefined;
  return {
    now: () => new Date(),
    random: Math.random,
    sleep: (milliseconds, signal) => setTimeout(milliseconds, undefined, signal && { signal }),
    deadline: new Date(Date.now() + seconds * 1_000),
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  };
}

/** The real clock, in which every wait takes a twentieth of its time and the rest of it is skipped. */
export function fastDeps(seconds = 600): Deps {
  const real = realDeps(seconds);
  let skipped = 0;
  return {
    ...real,
    now: () => new Date(Date.now() + skipped),
    sleep: async (milliseconds, signal) => {
      await real.sleep(milliseconds / 20, signal);
      skipped += (milliseconds * 19) / 20;
    },
  };
}
