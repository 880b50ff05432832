import { afterAll, beforeAll, expect, test } from 'vitest';
import { statusesOf } from '../sandbox/footprint.ts';
import { CREDENTIALS, startWorld, type World } from '../sandbox/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld({ zones: ['example.com'] });
  world.cdn.set('www.example.com');
});
afterAll(() => world.close());

test('nothing secret is printed, also when somebody switches on the debug output of every SDK', async () => {
  const certificates = [{ name: 'www', identifiers: ['www.example.com'] }];
  const renewal = await world.renew(world.config({ certificates }), { environment: { DEBUG: '*' } });
  expect(statusesOf(renewal)).toEqual({ www: 'renewed' });
  const printed = renewal.lines.join('\n');
  expect(printed.length).toBeGreaterThan(0);
  expect(printed).not.toContain('PRIVATE KEY');
  expect(printed).not.toContain(CREDENTIALS.accessKeySecret);
  expect(printed).not.toContain(CREDENTIALS.securityToken);
  const key = world.cdn.served('www.example.com')?.privateKey.split('\n')[1] ?? 'no key';
  expect(printed).not.toContain(key);
  expect(printed).not.toContain(encodeURIComponent(key));
});
