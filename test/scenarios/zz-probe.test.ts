import { test } from 'vitest';
import { startKillWorld } from '../sandbox/kill.ts';
import { pointsOf, sweep } from '../sandbox/kill-sweep.ts';
test('probe', { timeout: 600_000 }, async () => {
  const world = await startKillWorld();
  const points = (await pointsOf(world, 1)).filter((_, i) => i % 14 === 3);
  const t = performance.now();
  const result = await sweep(world, points.map((at) => ({ at, act: 'kill' as const, seed: 1 })));
  console.log((performance.now() - t)/1000, JSON.stringify(result, null, 1));
  console.log(points.join('\n'));
  await world.close();
});
