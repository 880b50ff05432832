import { test } from 'vitest';
import { createCase, endOf, createLedger, runInterfered, SIX_HOURS, standingOf, startKillWorld, writesNothing } from '../sandbox/kill.ts';
test('probe', async () => {
  const world = await startKillWorld();
  const one = await createCase(world);
  const r = await runInterfered(one);
  console.log(r.lasted, endOf(r), r.points.length);
  console.log(r.lines.filter(l => !l.includes('"level":"info"')).slice(0,3).join('\n'));
  await world.close();
});
