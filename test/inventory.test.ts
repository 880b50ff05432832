import { describe, expect, test } from 'vitest';
import { type Config, parseConfig } from '../src/config.ts';
import type { TargetDomain } from '../src/deploy.ts';
import { inventory, select } from '../src/inventory.ts';
import type { CertificateRecord } from '../src/record.ts';

async function configOf(more: Record<string, unknown>): Promise<Config> {
  const base = {
    acme: { contact: ['mailto:ops@example.com'], profile: 'tlsserver' },
    store: 'file:///var/lib/autocert',
  };
  return parseConfig(JSON.stringify({ ...base, ...more }), { env: {} });
}

function uploaded(domain: string, more: Partial<TargetDomain> = {}): TargetDomain {
  const certificate = { name: domain, type: 'upload', expireTime: '2026-12-26 14:45:09' };
  return { domain, status: 'online', https: true, certificate, ...more };
}

describe('the certificates that are to exist', () => {
  test("are those of the configuration, with the CA's profile where they name none", async () => {
    const config = await configOf({
      certificates: [
        {
          name: 'www',
          identifiers: ['www.example.com', '*.example.com'],
          targets: [{ type: 'cdn', domains: ['www.example.com'] }],
        },
        { name: 'api', identifiers: ['api.example.com'], keyType: 'ec256', profile: 'shortlived' },
      ],
    });
    expect((await inventory(config, [])).specs).toEqual([
      {
        name: 'www',
        identifiers: ['*.example.com'],
        keyType: 'rsa2048',
        profile: 'tlsserver',
        domains: ['www.example.com'],
        origin: 'configured',
      },
      {
        name: 'api',
        identifiers: ['api.example.com'],
        keyType: 'ec256',
        profile: 'shortlived',
        domains: ['api.example.com'],
        origin: 'configured',
      },
    ]);
  });

  test('and one for each domain that discovery takes, but for those that the configuration names', async () => {
    const config = await configOf({
      certificates: [{ name: 'www', identifiers: ['www.example.com'] }],
      discover: { include: ['*'] },
    });
    const { specs } = await inventory(config, [
      uploaded('www.example.com'),
      uploaded('b.example.com'),
      uploaded('*.a.example.com'),
    ]);
    expect(specs.map(({ name, domains, origin }) => [name, domains, origin])).toEqual([
      ['www', ['www.example.com'], 'configured'],
      ['_wildcard.a.example.com', ['*.a.example.com'], 'discovered'],
      ['b.example.com', ['b.example.com'], 'discovered'],
    ]);
  });

  test('a discovered domain does not take the name of a configured certificate', async () => {
    const config = await configOf({
      certificates: [{ name: 'b.example.com', identifiers: ['www.example.com'] }],
      discover: { include: ['*'] },
    });
    const { specs } = await inventory(config, [uploaded('b.example.com')]);
    expect(specs.map(({ name }) => name)).toEqual(['b.example.com', '_discovered.b.example.com']);
  });

  test('one a zone: the registrable domain, also under .com.cn, and no name that a wildcard covers', async () => {
    const config = await configOf({ discover: { include: ['*'], group: 'zone' } });
    const account = ['a.shop.com.cn', 'b.shop.com.cn', 'example.com', '*.example.com', 'www.example.com'].map((name) =>
      uploaded(name),
    );
    expect(
      (await inventory(config, account)).specs.map(({ name, identifiers, domains }) => ({
        name,
        identifiers,
        domains,
      })),
    ).toEqual([
      {
        name: 'example.com',
        identifiers: ['*.example.com', 'example.com'],
        domains: ['*.example.com', 'example.com', 'www.example.com'],
      },
      {
        name: 'shop.com.cn',
        identifiers: ['a.shop.com.cn', 'b.shop.com.cn'],
        domains: ['a.shop.com.cn', 'b.shop.com.cn'],
      },
    ]);
  });

  test('a zone of more than 100 domains becomes several certificates', async () => {
    const config = await configOf({ discover: { include: ['*'], group: 'zone' } });
    const account = Array.from({ length: 250 }, (_, index) => uploaded(`n${index}.example.com`));
    const { specs } = await inventory(config, account);
    expect(specs.map(({ name, domains }) => [name, domains.length])).toEqual([
      ['example.com', 100],
      ['example.com.2', 100],
      ['example.com.3', 50],
    ]);
  });
});

describe('discovery leaves alone', () => {
  test.each<[string, TargetDomain, string]>([
    ['what is stopped', uploaded('a.example.com', { status: 'offline' }), 'the domain is offline'],
    ['what is being checked', uploaded('a.example.com', { status: 'checking' }), 'the domain is checking'],
    ['what has HTTPS off', uploaded('a.example.com', { https: false }), 'HTTPS is off'],
    [
      'what was bought',
      uploaded('a.example.com', { certificate: { name: 'x', type: 'cas', expireTime: '' } }),
      'its certificate is of type cas, not uploaded',
    ],
    ['what is excluded', uploaded('internal.example.com'), 'in discover.exclude'],
    ['what is not included', uploaded('a.example.org'), 'not in discover.include'],
  ])('%s', async (_, entry, reason) => {
    const config = await configOf({ discover: { include: ['*.example.com'], exclude: ['internal.*'] } });
    const { specs, ignored } = await inventory(config, [entry]);
    expect(specs).toEqual([]);
    expect(ignored).toEqual([{ domain: entry.domain, reason }]);
  });

  test('nothing that is only being configured', async () => {
    const config = await configOf({ discover: { include: ['*'] } });
    expect((await inventory(config, [uploaded('a.example.com', { status: 'configuring' })])).specs).toHaveLength(1);
  });
});

describe('a pattern', () => {
  test.each([
    ['*', 'www.example.com', true],
    ['*.example.com', 'www.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', '*.example.com', true],
    ['*.example.com', 'example.com', false],
    ['www.example.com', 'www.example.com', true],
    ['www.example.com', 'xwww.example.com', false],
    ['img-*-cdn.example.com', 'img-1-cdn.example.com', true],
    ['img-*-cdn.example.com', 'img-cdn.example.com', false],
    ['*a*a.example.com', 'a.example.com', false],
    ['*a*a.example.com', 'aa.example.com', true],
    ['*.b.*.com', 'a.b.c.com', true],
    ['*.b.*.com', 'a.b.com', false],
  ])('%s and %s: %s', async (pattern, domain, takes) => {
    const config = await configOf({ discover: { include: [pattern] } });
    const { specs, problems } = await inventory(config, [uploaded(domain)]);
    expect(specs).toHaveLength(takes ? 1 : 0);
    expect(problems.map(({ code }) => code)).toEqual(takes ? [] : ['FILTER_MATCHED_NOTHING']);
  });
});

const ASKED = await inventory(
  await configOf({
    certificates: [
      { name: 'www', identifiers: ['www.example.com', 'example.com'] },
      { name: 'api', identifiers: ['api.example.com'] },
    ],
  }),
  [],
);

describe('what a person asks for', () => {
  const { specs } = ASKED;

  test("is found by the certificate's name and by any of its domains", () => {
    expect(select(specs, ['example.com', 'api']).specs.map(({ name }) => name)).toEqual(['www', 'api']);
  });

  test('is an error where it is not there, and the rest is done', () => {
    const { specs: found, problems } = select(specs, ['www', 'nowhere.example.com']);
    expect(found.map(({ name }) => name)).toEqual(['www']);
    expect(problems.map(({ code, message }) => `${code} ${message}`)).toEqual([
      'FILTER_MATCHED_NOTHING "nowhere.example.com" matches no domain and no certificate.',
    ]);
  });
});

describe('a certificate that was brought', () => {
  /** Ends on 2026-04-01; the CA takes over on 2026-03-29. */
  function brought(name: string, identifiers: string[], takenAt: string, notAfter = '2026-04-01T00:00:00.000Z') {
    const certificate = {
      fingerprint: name.padEnd(64, '0'),
      serial: '01',
      identifiers,
      keyType: 'ec256',
      directoryUrl: '',
      notBefore: '2026-01-01T00:00:00.000Z',
      notAfter,
    };
    const record: CertificateRecord = {
      version: 1,
      name,
      certificate,
      brought: { file: `inbox/${name}`, takenAt, issuer: 'CN=CA' },
      deployed: {},
    };
    return record;
  }
  const account = [
    uploaded('a.example.com'),
    uploaded('b.example.com'),
    uploaded('off.example.com', { https: false }),
    uploaded('named.example.com', { https: false }),
    uploaded('elsewhere.example.net'),
  ];
  const config = configOf({
    certificates: [{ name: 'named', identifiers: ['named.example.com'] }],
    discover: { include: ['a.example.com'] },
  });
  const domainsAt = async (now: string, ...records: CertificateRecord[]) =>
    Object.fromEntries(
      (await inventory(await config, account, { records, now: new Date(now) })).specs.map(({ name, domains }) => [
        name,
        domains,
      ]),
    );
  const wide = brought('_inbox.wide', ['*.example.com'], '2026-01-02T00:00:00.000Z');

  test('has the domains that it covers and that have HTTPS or are named, and no CA is asked for them', async () => {
    expect(await domainsAt('2026-02-01T00:00:00Z', wide)).toEqual({
      named: [],
      'a.example.com': [],
      '_inbox.wide': ['a.example.com', 'b.example.com', 'named.example.com'],
    });
    const { ignored } = await inventory(await config, account, {
      records: [wide],
      now: new Date('2026-02-01T00:00:00Z'),
    });
    expect(ignored.map(({ domain }) => domain)).toEqual(['off.example.com', 'elsewhere.example.net']);
  });

  test('gives them back three days before it ends, and keeps those that are nobody else’s', async () => {
    const last = {
      named: [],
      'a.example.com': [],
      '_inbox.wide': ['a.example.com', 'b.example.com', 'named.example.com'],
    };
    expect(await domainsAt('2026-03-28T23:59:59Z', wide)).toEqual(last);
    const after = {
      named: ['named.example.com'],
      'a.example.com': ['a.example.com'],
      '_inbox.wide': ['b.example.com'],
    };
    expect(await domainsAt('2026-03-29T00:00:00Z', wide)).toEqual(after);
    expect(await domainsAt('2026-05-01T00:00:00Z', wide)).toEqual(after);
  });

  test('gives way to the one that was brought after it', async () => {
    const next = brought('_inbox.b', ['b.example.com'], '2026-01-03T00:00:00.000Z');
    const now = '2026-02-01T00:00:00Z';
    expect((await domainsAt(now, wide, next))['_inbox.b']).toEqual(['b.example.com']);
    expect((await domainsAt(now, wide, next))['_inbox.wide']).toEqual(['a.example.com', 'named.example.com']);
    const short = brought('_inbox.b', ['b.example.com'], '2026-01-03T00:00:00.000Z', '2026-01-20T00:00:00.000Z');
    expect(await domainsAt(now, wide, short), 'while that is good').not.toHaveProperty(['_inbox.b']);
  });

  test('that covers nothing is no certificate', async () => {
    const other = brought('_inbox.other', ['www.example.org'], '2026-01-02T00:00:00.000Z');
    expect(await domainsAt('2026-02-01T00:00:00Z', other)).not.toHaveProperty(['_inbox.other']);
  });
});
