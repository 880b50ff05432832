import pLimit from 'p-limit';
import { openAcme } from '../acme.ts';
import { nameOf } from '../challenge/alidns.ts';
import { checkCaa } from '../challenge/caa.ts';
import type { TargetDomain } from '../deploy.ts';
import { toAutocertError } from '../errors.ts';
import { inventory } from '../inventory.ts';
import { counted, type Finding, good, problem, thrownFindings, warning } from './finding.ts';
import type { Ground } from './ground.ts';

/** Queries at once. */
const AT_ONCE = 8;

export interface Names {
  readonly findings: readonly Finding[];
  /** Of all certificates that are to exist now, wildcards as such. */
  readonly identifiers: readonly string[];
}

/** The CDN domains: those that the configuration names, and those that discovery finds. */
export async function checkCdnDomains({ config, target }: Ground): Promise<Names> {
  const account = await target.list();
  const { specs, problems } = await inventory(config, account);
  const byName = new Map(account.map((entry) => [entry.domain, entry]));
  const domains = [...new Set(specs.flatMap((spec) => spec.domains))];
  const findings = domains.flatMap((domain) => domainFindings(domain, byName.get(domain)));
  const there = domains.filter((domain) => byName.has(domain)).length;
  const found = specs.filter(({ origin }) => origin === 'discovered').length;
  const discovered = config.discover ? `, ${counted(found, 'certificate')} for what discovery finds` : '';
  return {
    findings: [
      good(`CDN: ${there} of ${domains.length} domains there${discovered}`),
      ...problems.flatMap(thrownFindings),
      ...findings,
    ],
    identifiers: [...new Set(specs.flatMap((spec) => spec.identifiers))],
  };
}

function domainFindings(domain: string, entry: TargetDomain | undefined): Finding[] {
  if (!entry) {
    const remedy = 'Add the domain to CDN in this account, or take it out of the configuration.';
    return [problem(`CDN: ${domain} is no domain of this account`, remedy)];
  }
  if (entry.status === 'online' || entry.status === 'configuring') return [];
  const remedy = 'Start the domain in the CDN console: until then it gets no certificate.';
  return [warning(`CDN: ${domain} is ${entry.status}`, remedy)];
}

export interface Zones {
  readonly findings: readonly Finding[];
  /** Zones of the account in which the challenge records are made, sorted. */
  readonly zones: readonly string[];
}

/** Where the challenge records of dns-01 go: by name, through CNAME records, to a zone of the account. */
export async function checkZones({ config, locate }: Ground, identifiers: readonly string[]): Promise<Zones> {
  if (config.challenge.type !== 'dns-01') return { findings: [], zones: [] };
  const names = [...new Set(identifiers.map((identifier) => nameOf({ identifier: identifier.replace(/^\*\./, '') })))];
  const limit = pLimit(AT_ONCE);
  const counts = new Map<string, number>();
  const delegated: Finding[] = [];
  const failed: Finding[] = [];
  await limit.map(names, async (name) => {
    try {
      const { fqdn, DomainName } = await locate(name);
      counts.set(DomainName, (counts.get(DomainName) ?? 0) + 1);
      if (fqdn !== name) delegated.push(good(`DNS: ${name} leads to ${fqdn}, in the zone ${DomainName}`));
    } catch (thrown) {
      failed.push(...thrownFindings(thrown));
    }
  });
  const zones = [...counts].sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    findings: [
      ...zones.map(([zone, count]) =>
        good(`DNS: the zone ${zone} takes the challenge records of ${counted(count, 'name')}`),
      ),
      ...delegated,
      ...failed,
    ],
    zones: zones.map(([zone]) => zone),
  };
}

/** Whether CAA records let the first CA issue (RFC 8659). A CA that does not say its names cannot be checked. */
export async function checkCaaRecords({ config, deps }: Ground, identifiers: readonly string[]): Promise<Finding[]> {
  const { acme, challenge, dns } = config;
  const session = openAcme({ directoryUrl: acme.directoryUrl, caBundle: acme.caBundle, deps });
  try {
    const { caaIdentities } = (await session.directory()).meta;
    const host = new URL(acme.directoryUrl).host;
    if (caaIdentities.length === 0) {
      const remedy = 'Check `dig CAA` of your domains by hand, if they have such records.';
      return [warning(`CAA: ${host} does not say by which names CAA records allow it`, remedy)];
    }
    const limit = pLimit(AT_ONCE);
    const findings = await limit.map(identifiers, async (identifier): Promise<Finding[]> => {
      try {
        const issuance = { identifier, caaIdentities, challengeType: challenge.type };
        return caaFindings(identifier, caaIdentities, await checkCaa(issuance, dns.resolvers));
      } catch (thrown) {
        return thrownFindings(thrown);
      }
    });
    const bad = findings.flat();
    const fine = findings.filter((entry) => entry.length === 0).length;
    return [good(`CAA: ${caaIdentities.join(', ')} may issue for ${fine} of ${identifiers.length} names`), ...bad];
  } catch (thrown) {
    const { message, remedy } = toAutocertError(thrown);
    return [warning(`CAA: ${message}`, remedy)];
  } finally {
    session.close();
  }
}

function caaFindings(
  identifier: string,
  caaIdentities: readonly string[],
  { allowed, at, records, accountUris }: Awaited<ReturnType<typeof checkCaa>>,
): Finding[] {
  const [identity = ''] = caaIdentities;
  if (!allowed) {
    const tag = identifier.startsWith('*.') ? 'issuewild' : 'issue';
    return [
      problem(
        `CAA: the records of ${at ?? identifier} do not let ${identity} issue for ${identifier}: ${records.join(', ')}`,
        `Add the record \`${at ?? identifier} CAA 0 ${tag} "${identity}"\`, or choose another CA.`,
      ),
    ];
  }
  if (accountUris.length === 0) return [];
  return [
    warning(
      `CAA: the records of ${at ?? identifier} let only the account ${accountUris.join(', ')} issue for ${identifier}`,
      'Replace accounturi by the URL of the account in the store, once the first run has made it.',
    ),
  ];
}
