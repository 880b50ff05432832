import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type AcmeEndpoint, type AcmeFault, changedJson, type FaultProxy, problemAnswer, startFaultProxy } from '../sandbox/fault-proxy.ts';
import { errorsOf, ordersAt, statusesOf, txtRecords } from '../sandbox/footprint.ts';
import { startWorld, type World } from '../sandbox/world.ts';

let world: World;
let proxy: FaultProxy;
const rules: (() => void)[] = [];
beforeAll(async () => {
  // No authorization is used a second time, and no good nonce is refused: what goes wrong is what the test does.
  world = await startWorld({
    zones: ['example.com'],
    pebble: { env: { PEBBLE_AUTHZREUSE: '0', PEBBLE_WFE_NONCEREJECT: '0' } },
  });
  proxy = await startFaultProxy(world.pebble);
});
afterEach(() => {
  for (const stop of rules.splice(0)) stop();
});
afterAll(async () => {
  await proxy.close();
  await world.close();
});

/** One certificate for each domain, all on the CDN. */
function certificatesFor(domains: readonly string[]) {
  for (const domain of domains) world.cdn.set(domain);
  return world.config({
    acme: proxy.acme(),
    certificates: domains.map((domain) => ({ name: domain, identifiers: [domain], keyType: 'ec256' })),
  });
}

const HTML: AcmeFault = { answer: { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>hello</html>' } };
const ONCE: Record<string, AcmeFault> = {
  500: problemAnswer(500, 'serverInternal'),
  502: { answer: { status: 502, body: '<html>Bad Gateway</html>' } },
  503: { answer: { status: 503, headers: { 'retry-after': '1' }, body: 'busy' } },
  html: HTML,
  cut: 'cut',
  before: 'reset-before',
  after: 'reset-after',
};
const OF_AN_ORDER: readonly AcmeEndpoint[] = ['newOrder', 'order', 'authorization', 'challenge', 'finalize', 'certificate'];

test.each([['500', '502', '503'], ['html', 'cut', 'before', 'after']])('probe %s', async (...kinds) => {
  const cases = kinds.flatMap((fault) => OF_AN_ORDER.map((endpoint) => ({ domain: `${fault}-${endpoint}.example.com`.toLowerCase(), fault, endpoint })));
  rules.push(
    proxy.intercept(({ endpoint, names, nth }) => {
      const found = cases.find((each) => each.domain === names[0] && each.endpoint === endpoint);
      return found && nth === 1 ? ONCE[found.fault] : undefined;
    }),
  );
  const before = ordersAt(world);
  const renewal = await world.renew(certificatesFor(cases.map(({ domain }) => domain)));
  console.log(errorsOf(renewal));
  for (const o of renewal.report.outcomes) if (o.error) console.log(o.name, o.error.message);
  console.log(statusesOf(renewal));
  console.log(cases.length, ordersAt(world) - before, txtRecords(world, 'example.com'));
  console.log(renewal.report.startedAt, renewal.report.finishedAt);
  for (const l of renewal.lines) if (l.includes('503-certificate') || l.includes('after-neworder')) console.log(l.slice(0,300));
});
