import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * `count` different TCP ports of 127.0.0.1 that are free at this moment, for a program that cannot listen on port 0 and
 * say which one it got. Another process may take one before it is used: whoever starts the program tries again then.
 */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  try {
    await Promise.all(servers.map((server) => once(server, 'listening')));
    return servers.map((server) => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
      return address.port;
    });
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}
