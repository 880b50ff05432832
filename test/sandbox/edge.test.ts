import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { type Cdn, createCdn } from './cdn.ts';
import { defaultCa, makeCertificate } from './certificates.ts';
import { type Edge, type EdgeOptions, startEdge } from './edge.ts';

const edges: Edge[] = [];
afterEach(async () => {
  await Promise.all(edges.splice(0).map((edge) => edge.close()));
});

async function start(cdn: Cdn, options: Partial<EdgeOptions> = {}): Promise<Edge> {
  const edge = await startEdge({ name: 'edge-a', cdn, ...options });
  edges.push(edge);
  return edge;
}

/** What a real handshake gets: SHA-256 of the leaf. */
async function handshake(edge: Edge, servername: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: edge.port, servername, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256.replaceAll(':', '').toLowerCase();
}

const first = makeCertificate({ names: ['www.example.com'] });
const second = makeCertificate({ names: ['www.example.com'], keyType: 'rsa2048' });
const wildcard = makeCertificate({ names: ['*.example.com'] });

test('openssl sees the whole chain that was put on the domain', async () => {
  const cdn = createCdn({ domains: ['www.example.com'] });
  cdn.purchase('www.example.com', second);
  const edge = await start(cdn);
  const call = promisify(execFile)('openssl', [
    's_client',
    '-connect',
    edge.address,
    '-servername',
    'www.example.com',
    '-showcerts',
  ]);
  call.child.stdin?.end();
  const { stdout } = await call;
  const served = stdout.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  expect(served.map((pem) => new X509Certificate(pem).fingerprint)).toEqual(
    [second.leaf, defaultCa().intermediate].map((pem) => new X509Certificate(pem).fingerprint),
  );
});

test('a client that trusts the CA gets the one line of this edge', async () => {
  const valid = makeCertificate({ names: ['www.example.com'], notAfter: new Date('2040-01-01T00:00:00Z') });
  const cdn = createCdn({ domains: ['www.example.com'] });
  cdn.purchase('www.example.com', valid);
  const edge = await start(cdn);
  const sent = request({
    host: '127.0.0.1',
    port: edge.port,
    servername: 'www.example.com',
    ca: defaultCa().root,
    agent: false,
  });
  sent.end();
  const [response] = await once(sent, 'response');
  const text = (await response.toArray()).join('');
  expect([response.statusCode, text]).toEqual([200, 'edge-a\n']);
});

test('a change is served before whoever made it goes on', async () => {
  const cdn = createCdn({ domains: ['www.example.com'] });
  const edge = await start(cdn);
  cdn.purchase('www.example.com', first);
  expect(await handshake(edge, 'www.example.com')).toBe(first.fingerprint);
  cdn.purchase('www.example.com', second);
  expect(await handshake(edge, 'WWW.example.com')).toBe(second.fingerprint);
});

test('an edge on hold keeps the old certificate while another has the new one, until it is released', async () => {
  const cdn = createCdn({ domains: ['www.example.com'] });
  cdn.purchase('www.example.com', first);
  const [slow, fast] = [await start(cdn), await start(cdn, { name: 'edge-b' })];
  slow.hold();
  cdn.purchase('www.example.com', second);
  await fast.serves('www.example.com', second.fingerprint);
  expect(await handshake(slow, 'www.example.com')).toBe(first.fingerprint);
  expect(await handshake(fast, 'www.example.com')).toBe(second.fingerprint);
  const served = slow.serves('www.example.com', second.fingerprint);
  slow.release();
  await served;
  expect(await handshake(slow, 'www.example.com')).toBe(second.fingerprint);
});

test('an edge with a delay takes a change up by itself', async () => {
  const cdn = createCdn({ domains: ['www.example.com'] });
  cdn.purchase('www.example.com', first);
  const edge = await start(cdn);
  edge.setDelay(20);
  cdn.purchase('www.example.com', second);
  expect(edge.fingerprintOf('www.example.com')).toBe(first.fingerprint);
  await edge.serves('www.example.com', second.fingerprint);
  expect(await handshake(edge, 'www.example.com')).toBe(second.fingerprint);
});

test('an overridden domain serves something else than the CDN says, and the rest of the edge does not', async () => {
  const cdn = createCdn({ domains: ['www.example.com', 'api.example.com'] });
  cdn.purchase('www.example.com', second);
  cdn.purchase('api.example.com', wildcard);
  const edge = await start(cdn);
  edge.override('www.example.com', first);
  expect(await handshake(edge, 'www.example.com')).toBe(first.fingerprint);
  expect(await handshake(edge, 'api.example.com')).toBe(wildcard.fingerprint);
  edge.override('www.example.com', undefined);
  expect(await handshake(edge, 'www.example.com')).toBe(second.fingerprint);
});

test('a wildcard domain answers for the names below it, an exact domain goes first', async () => {
  const cdn = createCdn({ domains: ['.example.com', 'www.example.com'] });
  cdn.purchase('.example.com', wildcard);
  cdn.purchase('www.example.com', first);
  const edge = await start(cdn);
  expect(await handshake(edge, 'img.example.com')).toBe(wildcard.fingerprint);
  expect(await handshake(edge, 'www.example.com')).toBe(first.fingerprint);
  expect(edge.fingerprintOf('example.com')).toBeUndefined();
});

test('an unknown name and a domain without HTTPS get the default certificate', async () => {
  const cdn = createCdn({ domains: ['www.example.com'] });
  cdn.purchase('www.example.com', first);
  const edge = await start(cdn);
  const unknown = await handshake(edge, 'unknown.example.net');
  cdn.set('www.example.com', { sslProtocol: 'off' });
  expect(await handshake(edge, 'www.example.com')).toBe(unknown);
  expect(unknown).not.toBe(first.fingerprint);
});

test('close cuts clients off and rejects whoever still waits', async () => {
  const edge = await start(createCdn());
  const client = connectTcp(edge.port, '127.0.0.1');
  client.on('error', () => {});
  await once(client, 'connect');
  const waiting = expect(edge.serves('www.example.com', first.fingerprint)).rejects.toThrow('edge-a was closed');
  await edge.close();
  await waiting;
  if (!client.closed) await once(client, 'close');
  expect(client.closed).toBe(true);
});
