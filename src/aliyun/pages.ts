import { AliyunError } from './errors.ts';

export interface Page<T> {
  readonly total: number;
  readonly items: readonly T[];
}

const MAX_PAGES = 1000;

/**
 * Every entry of a paged list, PageNumber from 1. An entry that moved to the next page while reading is there once. Throws
 * RESPONSE_INVALID when the pages end before the list's own TotalCount: a short list would look like deleted domains.
 */
export async function allPages<T>(
  action: string,
  key: (item: T) => string,
  fetchPage: (pageNumber: string) => Promise<Page<T>>,
): Promise<T[]> {
  const found = new Map<string, T>();
  let seen = 0;
  for (let pageNumber = 1; ; pageNumber += 1) {
    const { total, items } = await fetchPage(String(pageNumber));
    const before = found.size;
    for (const item of items) found.set(key(item), item);
    seen += items.length;
    if (seen >= total) return [...found.values()];
    // A page that brings nothing new is the end of the list: asked on, such a server would never be done.
    if (found.size > before && pageNumber < MAX_PAGES) continue;
    throw new AliyunError({
      code: 'RESPONSE_INVALID',
      message: `${action}: the list says it has ${total} entries and gives ${seen}`,
      retryable: true,
      remedy: 'Run again; if it goes on, report it to Alibaba Cloud support.',
      action,
    });
  }
}
