/** Where the peers put their TXT records: `POST /present` and `/cleanup`, as lego's provider `httpreq` asks. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Dns } from '../sandbox/dns.ts';

export interface RecordServer {
  readonly url: string;
  close(): Promise<void>;
}

/** The body is JSON `{fqdn, value}`. Everything is taken away again by the name alone. */
export async function startRecordServer(dns: Dns, zone: string): Promise<RecordServer> {
  const ids = new Map<string, string[]>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const { fqdn, value = '' } = JSON.parse(Buffer.concat(chunks).toString()) as { fqdn: string; value?: string };
    if (request.url === '/present') {
      const id = dns.addRecord(zone, { name: fqdn, type: 'TXT', value });
      ids.set(fqdn, [...(ids.get(fqdn) ?? []), id]);
    } else {
      for (const id of ids.get(fqdn) ?? []) dns.removeRecord(id);
      ids.delete(fqdn);
    }
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
