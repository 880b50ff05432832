/** A TCP port that leads to another one, until it is cut or shut: a server that closes its connections, or is gone. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Relay {
  readonly port: number;
  /** False while it is shut. */
  readonly isOpen: boolean;
  /** Connections that clients have open. */
  readonly open: number;
  /** Connections that clients have made so far. */
  readonly made: number;
  /** Ends every connection at once. */
  cut(): void;
  /** Cuts, and refuses connections until it is opened again. */
  shut(): Promise<void>;
  reopen(): Promise<void>;
  close(): Promise<void>;
}

/** `url` is that of a server of this machine. What it says takes `delay` milliseconds longer to arrive. */
export async function startRelay(url: string, { delay = 0 }: { readonly delay?: number } = {}): Promise<Relay> {
  const target = Number(new URL(url).port);
  const clients = new Set<Socket>();
  let made = 0;
  const server = createServer((client) => {
    made += 1;
    clients.add(client);
    const upstream = connect(target, '127.0.0.1');
    client.pipe(upstream);
    if (delay === 0) upstream.pipe(client);
    else {
      upstream.on('data', (bytes) => setTimeout(() => client.write(bytes), delay));
      upstream.on('end', () => setTimeout(() => client.end(), delay));
    }
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      // Whatever ends one half ends the other.
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    client.on('close', () => clients.delete(client));
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  const { port } = address;

  const cut = () => {
    for (const client of clients) client.resetAndDestroy();
  };
  const shut = async () => {
    const closed = server.listening ? once(server, 'close') : undefined;
    server.close();
    cut();
    await closed;
  };
  return {
    port,
    get isOpen() {
      return server.listening;
    },
    get open() {
      return clients.size;
    },
    get made() {
      return made;
    },
    cut,
    shut,
    reopen: () => listen(port),
    close: shut,
  };
}
