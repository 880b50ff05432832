import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Deps } from '../src/deps.ts';
import { createEdges, type EdgeReading, type Edges, isServed, verify } from '../src/verify.ts';
import { createCdn } from './sandbox/cdn.ts';
import { makeCertificate } from './sandbox/certificates.ts';
import { type Dns, startDns } from './sandbox/dns.ts';
import { type Edge, startEdge } from './sandbox/edge.ts';
import { freePorts } from './sandbox/ports.ts';

const NOON = Date.parse('2026-01-02T12:00:00Z');
const [NEW, OLD] = ['a'.repeat(64), 'b'.repeat(64)];
const expired = makeCertificate({
  names: ['*.example.com'],
  notBefore: new Date('2020-01-01T00:00:00Z'),
  notAfter: new Date('2020-04-01T00:00:00Z'),
});

let dns: Dns;
let edge: Edge;
beforeAll(async () => {
  dns = await startDns({
    zones: {
      'example.com': [],
      'kunlun.example': [
        { name: 'www.example.com.w.kunlun.example', type: 'A', value: '127.0.0.11' },
        { name: 'www.example.com.w.kunlun.example', type: 'AAAA', value: '::1' },
      ],
    },
  });
  const cdn = createCdn({ domains: ['www.example.com', '.wild.example.com'] });
  cdn.purchase('www.example.com', { ...expired, certType: 'upload' });
  cdn.purchase('.wild.example.com', { ...expired, certType: 'upload' });
  edge = await startEdge({ name: 'edge-a', cdn });
});
afterAll(() => Promise.all([dns.close(), edge.close()]));

function edgesAt(connect: readonly string[] | undefined): Edges {
  return createEdges({
    verify: { patience: 0, connect },
    dns: { resolvers: [dns.resolver], propagation: 'authoritative' },
  });
}

describe('an edge is read', () => {
  test('whatever certificate it shows: an expired one of an unknown CA is what it is', async () => {
    expect(await edgesAt([edge.address]).read('www.example.com', undefined)).toMatchObject([
      { domain: 'www.example.com', edge: edge.address, fingerprint: expired.fingerprint },
    ]);
  });

  test('for a wildcard domain by one of its names', async () => {
    expect(await edgesAt([edge.address]).read('*.wild.example.com', undefined)).toMatchObject([
      { domain: '*.wild.example.com', edge: edge.address, fingerprint: expired.fingerprint },
    ]);
  });

  test('one that does not answer is named with the reason, and stops no other', async () => {
    const [port] = await freePorts(1);
    const readings = await edgesAt([`127.0.0.1:${port}`, edge.address]).read('www.example.com', undefined);
    expect(readings.map(({ unreachable, fingerprint }) => unreachable ?? fingerprint)).toEqual([
      'ECONNREFUSED',
      expired.fingerprint,
    ]);
  });

  // It loses some 6 KB of OpenSSL's memory in each handshake (Node 20.20): of a large account that is most of an instance.
  test('without Node being asked for the certificate as an object', async () => {
    const asked = vi.spyOn(TLSSocket.prototype, 'getPeerX509Certificate');
    const [reading] = await edgesAt([edge.address]).read('www.example.com', undefined);
    expect(reading?.pem?.trim()).toBe(expired.leaf.trim());
    expect(asked).not.toHaveBeenCalled();
    asked.mockRestore();
  });

  test('and one whose certificate Node cannot make sense of is out of reach, and ends no process', async () => {
    const asked = vi.spyOn(TLSSocket.prototype, 'getPeerCertificate').mockImplementation(() => {
      throw new Error('unknown curve');
    });
    const [reading] = await edgesAt([edge.address]).read('www.example.com', undefined);
    expect(reading).toMatchObject({ unreachable: 'its certificate cannot be read' });
    asked.mockRestore();
  });

  test("at every address that the domain's CDN name has, when no address is given", async () => {
    const readings = await edgesAt(undefined).read('www.example.com', 'www.example.com.w.kunlun.example');
    expect(readings.map(({ edge: address }) => address)).toEqual(['127.0.0.11:443', '[::1]:443']);
  });

  test('a name without an address is unreachable, not served', async () => {
    const readings = await edgesAt(undefined).read('www.example.com', 'nowhere.kunlun.example');
    expect(readings).toEqual([
      { domain: 'www.example.com', edge: 'nowhere.kunlun.example', unreachable: 'its name has no address' },
    ]);
  });
});

/** Edges that answer from a list, one reading after the other, the last one for ever; and a clock that only sleep moves. */
function scripted(script: readonly (string | undefined)[][], deadlineSeconds: number) {
  let [milliseconds, reads] = [0, 0];
  const edges: Edges = {
    async read(domain) {
      const row = script[Math.min(reads, script.length - 1)] ?? [];
      reads += 1;
      return row.map((fingerprint, index): EdgeReading => {
        const address = `192.0.2.${index + 1}:443`;
        return fingerprint
          ? { domain, edge: address, fingerprint }
          : { domain, edge: address, unreachable: 'ETIMEDOUT' };
      });
    },
  };
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const deps: Deps = {
    now: () => new Date(NOON + milliseconds),
    random: () => 0,
    sleep: async (pause) => {
      milliseconds += pause;
    },
    deadline: new Date(NOON + deadlineSeconds * 1000),
    log: silent,
  };
  return { edges, deps, elapsed: () => milliseconds, reads: () => reads };
}

const DOMAIN = [{ domain: 'www.example.com', cname: undefined }];

describe('a deployment is verified', () => {
  test('at once when every edge serves it', async () => {
    const { edges, deps, elapsed } = scripted([[NEW, NEW]], 600);
    expect(isServed(await verify('www', DOMAIN, NEW, edges, 60_000, deps))).toBe(true);
    expect(elapsed()).toBe(0);
  });

  test('when the last edge has taken it up', async () => {
    const { edges, deps, reads } = scripted(
      [
        [OLD, OLD],
        [NEW, OLD],
        [NEW, NEW],
      ],
      600,
    );
    expect((await verify('www', DOMAIN, NEW, edges, 60_000, deps)).map(({ status }) => status)).toEqual([
      'served',
      'served',
    ]);
    expect(reads()).toBe(3);
  });

  test('with an edge that never answers, if the others serve it', async () => {
    const { edges, deps } = scripted([[NEW, undefined]], 600);
    expect((await verify('www', DOMAIN, NEW, edges, 60_000, deps)).map(({ status }) => status)).toEqual([
      'served',
      'unreachable',
    ]);
  });

  test.each<[string, (string | undefined)[]]>([
    ['an edge serves another', [NEW, OLD]],
    ['no edge answers', [undefined, undefined]],
  ])('not when %s until patience ends', async (_, row) => {
    const { edges, deps, elapsed } = scripted([row], 600);
    expect(isServed(await verify('www', DOMAIN, NEW, edges, 60_000, deps))).toBe(false);
    expect(elapsed()).toBe(60_000);
  });

  test('no longer than the deadline, whatever the patience', async () => {
    const { edges, deps, elapsed } = scripted([[OLD]], 20);
    expect(isServed(await verify('www', DOMAIN, NEW, edges, 600_000, deps))).toBe(false);
    expect(elapsed()).toBe(20_000);
  });
});
