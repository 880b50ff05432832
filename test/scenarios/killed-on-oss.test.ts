import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KillWorld, startKillWorld } from '../sandbox/kill.ts';
import { pointsOf, sweep } from '../sandbox/kill-sweep.ts';

/** Every point with three seeds, instead of eight points with one. */
const SOAK = process.env['AUTOCERT_SOAK'] === '1';
const SEEDS = SOAK ? [1, 2, 3] : [1];
/** Where a loss would cost the most. */
const CHOSEN = [
  'cloud GenerateDataKey #1 after',
  'store create lease/000000000001.json #1 after',
  'ca POST order-plz #1 after',
  'ca POST finalize-order #1 after',
  'store put certificates/two/*.json #1 before',
  'store put certificates/two/*.json #1 after',
  'store put certificates/two/record.json #1 after',
  'store put index.json #2 after',
];

let world: KillWorld;
beforeAll(async () => {
  world = await startKillWorld('oss');
});
afterAll(() => world.close());

test.each(SEEDS)(
  'F45 SIGKILL with the store in a bucket, encrypted by KMS: nothing is lost there either, seed %i',
  { timeout: SOAK ? 4 * 3_600_000 : 600_000 },
  async (seed) => {
    const points = await pointsOf(world, seed);
    const at = SOAK ? points : CHOSEN;
    expect(points).toEqual(expect.arrayContaining(at));
    const swept = await sweep(
      world,
      at.map((point) => ({ at: point, act: 'kill', seed })),
    );
    process.stdout.write(
      `SIGKILL, store on OSS with KMS, ${swept.points} of ${points.length} points, seed ${seed}: ${swept.kills} kills, ` +
        `${swept.issued} certificates issued for ${swept.needed} needed, keys lost ${swept.lost}, TXT left over ${swept.txt}\n`,
    );
    expect(swept.broken).toEqual([]);
    expect(swept).toMatchObject({ issued: swept.needed, lost: 0, txt: 0, kills: at.length });
  },
);
