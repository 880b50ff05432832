/** What the sources say of themselves: the handlers, and the API actions in the code that a handler loads. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** `renew` for a functions/renew.ts that exports `handler`. */
export function handlerNames(): string[] {
  return readdirSync(join(ROOT, 'functions'))
    .filter((file) =>
      /^export (?:async function|function|const) handler\b/m.test(readFileSync(join(ROOT, 'functions', file), 'utf8')),
    )
    .map((file) => file.replace(/\.ts$/, ''))
    .sort();
}

/** Every source that a handler imports, now or later, types aside. */
function loadedBy(handler: string): Map<string, string> {
  const loaded = new Map<string, string>();
  const open = [join(ROOT, 'functions', `${handler}.ts`)];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (loaded.has(file) || !existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    loaded.set(file, text);
    for (const [, path = ''] of text.matchAll(/^(?:import|export) (?!type\b)[^;]*?from '(\.[^']+)'/gm))
      open.push(join(dirname(file), path));
    for (const [, path = ''] of text.matchAll(/\bimport\('(\.[^']+)'\)/g)) open.push(join(dirname(file), path));
  }
  return loaded;
}

/** The product of a RAM action by the version of its API. OSS has none, and what calls Function Compute knows two. */
const PRODUCTS: Readonly<Record<string, string>> = {
  '2018-05-10': 'cdn',
  '2015-01-09': 'alidns',
  '2016-01-20': 'kms',
  '2019-01-01': 'cms',
  '2015-11-23': 'dm',
};

/** Actions as RAM names them, that stand in the code which `handler` loads. */
export function actionsInCode(handler: string): string[] {
  const actions = [...loadedBy(handler)].flatMap(([file, text]) => {
    const names = [...text.matchAll(/\b(?:action\s*[:=]\s*|call\()'([A-Z]\w+)'/g)].map(([, name = '']) => name);
    if (names.length === 0) return [];
    const version = /^const VERSION = '([\d-]+)'/m.exec(text)?.[1];
    const product = version === undefined ? /\b(oss|fc)(-failure)?\.ts$/.exec(file)?.[1] : PRODUCTS[version];
    if (product === undefined) throw new Error(`${file} calls ${names.join(', ')}: of which product?`);
    return names.map((name) => `${product}:${name}`);
  });
  return [...new Set(actions)].sort();
}
