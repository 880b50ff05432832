import { expect, test } from 'vitest';
import { allPages } from '../../src/aliyun/pages.ts';

const page = (total: number, ...items: string[]) => ({ total, items });

test('an entry that moved to the next page while the list was read is there once', async () => {
  const pages = [page(4, 'a', 'b'), page(4, 'b', 'c')];
  expect(await allPages('List', String, async (nth) => pages[Number(nth) - 1] ?? page(4))).toEqual(['a', 'b', 'c']);
});

test.each([
  ['ends before it has what it says', (nth: number) => (nth === 1 ? page(9, 'a') : page(9))],
  ['says that it has a billion entries and gives the same page for ever', () => page(1e9, 'a', 'b')],
  ['says that it has a billion entries and has ever more', (nth: number) => page(1e9, `a${nth}`)],
])('F36 a list that %s is refused', async (_, fetchPage) => {
  const pages = allPages('List', String, async (nth) => fetchPage(Number(nth)));
  await expect(pages).rejects.toMatchObject({ code: 'RESPONSE_INVALID', retryable: true });
});
