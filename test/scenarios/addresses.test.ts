import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { problemAnswer } from '../sandbox/fault-proxy.ts';
import { type FaultyWorld, startFaultyWorld } from '../sandbox/faulty-world.ts';
import { decisionsOf, errorsOf, statusesOf } from '../sandbox/footprint.ts';
import { parseLine } from '../sandbox/world.ts';

let faulty: FaultyWorld;
/** Answers everything that is asked below `/hop` by a redirect to itself, where nobody may come. */
let server: Server;
let origin: string;
/** The paths that were asked for. */
const asked: string[] = [];
beforeAll(async () => {
  faulty = await startFaultyWorld();
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const isHop = request.url?.startsWith('/hop') === true;
    response.writeHead(isHop ? 302 : 200, isHop ? { location: '/latest/meta-data/' } : {}).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await faulty.close();
});

test('F69 a heartbeat and a webhook that redirect are followed nowhere, and the run stays as good as it was', async () => {
  const { world, proxy, certificatesFor } = faulty;
  const domain = 'f69-redirect.example.com';
  const config = { ...certificatesFor([domain]), heartbeat: `${origin}/hop/heartbeat` };
  const good = await world.renew(config);
  expect([statusesOf(good), good.error]).toEqual([{ [domain]: 'renewed' }, undefined]);
  expect(asked.splice(0)).toEqual(['/hop/heartbeat']);
  const refused = good.lines.flatMap(parseLine).filter(({ event }) => event === 'heartbeat_failed');
  expect(refused).toMatchObject([{ error: { code: 'REQUEST_REFUSED' } }]);

  // Something to tell.
  const failing = 'f69-refused.example.com';
  const calm = proxy.intercept(({ endpoint }) =>
    endpoint === 'newOrder' ? problemAnswer(400, 'rejectedIdentifier') : undefined,
  );
  const url = `${origin}/hop/webhook`;
  const bad = await world.renew({ ...certificatesFor([failing]), notify: [{ channel: 'webhook', url }] });
  calm();
  expect(errorsOf(bad)).toEqual({ [failing]: 'ACME_REJECTED_IDENTIFIER' });
  expect(asked.splice(0)).toEqual(['/hop/webhook']);
  expect(bad.lines.join('\n')).not.toContain('/hop/webhook');
});

test('F69 the page with which the CA explains its advice is named and never fetched; an advice elsewhere is not asked for', async () => {
  const { world, proxy, certificatesFor, record, letTimePass } = faulty;
  const domain = 'f69-explained.example.com';
  const config = certificatesFor([domain]);
  await world.renew(config);
  await letTimePass();
  const explanationURL = `${origin}/latest/meta-data/explained`;
  const body = JSON.stringify({
    suggestedWindow: { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' },
    explanationURL,
  });
  const calm = proxy.intercept(({ endpoint }) =>
    endpoint === 'renewalInfo'
      ? { answer: { status: 200, headers: { 'content-type': 'application/json' }, body } }
      : undefined,
  );
  const renewal = await world.renew(config);
  calm();
  expect(decisionsOf(renewal)).toEqual({ [domain]: 'renew SelectedTimeReached' });
  expect(renewal.report.outcomes[0]?.decision?.message).toContain(explanationURL);
  expect(asked).toEqual([]);

  await letTimePass();
  const before = (await record(domain)).certificate?.fingerprint;
  const lead = proxy.intercept(({ endpoint }) =>
    endpoint === 'directory'
      ? {
          change: ({ body: honest, ...rest }) => ({
            ...rest,
            body: JSON.stringify({ ...JSON.parse(honest), renewalInfo: `${origin}/latest/meta-data` }),
          }),
        }
      : undefined,
  );
  const led = await world.renew(config);
  lead();
  expect(decisionsOf(led)).toEqual({ [domain]: 'keep Current' });
  expect((await record(domain)).certificate?.fingerprint).toBe(before);
  expect(asked).toEqual([]);
});
