import { domainToASCII } from 'node:url';
import type { Alidns, DnsDomain, RecordName } from '../aliyun/alidns.ts';
import { hasApiCode } from '../aliyun/errors.ts';
import type { Deps } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import type { Challenge, Solver } from '../issue.ts';
import { createPropagation, type DnsOptions, type Propagation } from './propagation.ts';

export interface AlidnsSolverOptions {
  readonly alidns: Alidns;
  readonly dns: DnsOptions;
  readonly deps: Deps;
  /** Milliseconds to wait for one value to be visible. Default: 5 minutes. */
  readonly patience?: number;
}

/** The place of a TXT record: its full name, and how Alibaba Cloud DNS writes it. */
interface Place extends RecordName {
  readonly fqdn: string;
  readonly Type: 'TXT';
}

/**
 * Finds where the TXT record of a name belongs: where the name leads to by CNAME, in the closest zone of the account.
 * The zones are read once. It throws DNS_ZONE_NOT_FOUND, DNS_CNAME_LOOP, DNS_LOOKUP_FAILED, or AliyunError.
 */
export function createLocator({
  alidns,
  propagation,
}: {
  readonly alidns: Pick<Alidns, 'describeDomains'>;
  readonly propagation: Pick<Propagation, 'followCnames'>;
}): (name: string) => Promise<Place> {
  let reading: Promise<DnsDomain[]> | undefined;

  function zones(): Promise<DnsDomain[]> {
    reading ??= alidns.describeDomains().catch((error: unknown) => {
      reading = undefined;
      throw error;
    });
    return reading;
  }

  return async (name) => {
    const fqdn = await propagation.followCnames(name);
    const suffixes = (await zones()).map(({ DomainName, PunyCode }) => ({
      DomainName,
      suffix: PunyCode?.toLowerCase() || domainToASCII(DomainName) || DomainName.toLowerCase(),
    }));
    const [zone] = suffixes
      .filter(({ suffix }) => fqdn === suffix || fqdn.endsWith(`.${suffix}`))
      .sort((one, other) => other.suffix.length - one.suffix.length);
    if (!zone) throw zoneNotFound(name, fqdn);
    const RR = fqdn === zone.suffix ? '@' : fqdn.slice(0, -zone.suffix.length - 1);
    return { fqdn, DomainName: zone.DomainName, RR, Type: 'TXT' };
  };
}

/**
 * dns-01 (RFC 8555 section 8.4) by Alibaba Cloud DNS. The record goes where `_acme-challenge.<identifier>` leads to by
 * CNAME, so a domain at another DNS provider can be delegated to a zone of this account. Needs `createPropagation`'s
 * network alone; keeps nothing between processes: clean-up finds the record again by its exact value.
 */
export function createAlidnsSolver({ alidns, dns, deps, patience }: AlidnsSolverOptions): Solver {
  const propagation = createPropagation({ dns, deps, ...(patience !== undefined && { patience }) });
  const locate = createLocator({ alidns, propagation });
  const placeOf = new Map<string, Place>();

  /** Adds the record; a CNAME that stands at the very name, too new for the resolver to know it, is followed. */
  async function add(place: Place, challenge: Challenge, hops = 8): Promise<Place> {
    const { DomainName, RR, Type } = place;
    // Known before it is there: the answer to a write that was carried out can be lost.
    placeOf.set(keyOf(challenge), place);
    try {
      await alidns.addDomainRecord({ DomainName, RR, Type, Value: challenge.keyAuthorization });
      return place;
    } catch (error) {
      if (!hasApiCode(error, 'DomainRecordConflict') || hops === 0) throw error;
      const [cname] = await alidns.describeSubDomainRecords({ DomainName, RR, Type: 'CNAME' });
      if (!cname) throw error;
      return add(await locate(cname.Value), challenge, hops - 1);
    }
  }

  return {
    type: 'dns-01',

    async present(challenge) {
      const place = await add(await locate(nameOf(challenge)), challenge);
      deps.log.info('challenge_record_added', {
        identifier: challenge.identifier,
        record: place.fqdn,
        zone: place.DomainName,
      });
      await propagation.waitForTxt(place.fqdn, challenge.keyAuthorization);
    },

    async cleanUp(challenge) {
      const place = placeOf.get(keyOf(challenge)) ?? (await locate(nameOf(challenge)).catch(nowhere));
      if (!place) return;
      const { DomainName, RR, Type } = place;
      const records = await alidns.describeSubDomainRecords({ DomainName, RR, Type }, { cleanUp: true });
      for (const { RecordId, Value } of records) {
        // Values of other orders at the same name are needed by those.
        if (Value === challenge.keyAuthorization) await alidns.deleteDomainRecord({ DomainName, RecordId });
      }
      placeOf.delete(keyOf(challenge));
    },
  };
}

export function nameOf({ identifier }: Pick<Challenge, 'identifier'>): string {
  return `_acme-challenge.${identifier}`;
}

function keyOf({ identifier, keyAuthorization }: Challenge): string {
  return `${identifier} ${keyAuthorization}`;
}

/** Without a zone there is no record of ours either. */
function nowhere(error: unknown): undefined {
  if (error instanceof AutocertError && error.code === 'DNS_ZONE_NOT_FOUND') return undefined;
  throw error;
}

function zoneNotFound(name: string, fqdn: string): AutocertError {
  const led = fqdn === name ? '' : ` (it leads to ${fqdn})`;
  return new AutocertError({
    code: 'DNS_ZONE_NOT_FOUND',
    message: `no zone of this account in Alibaba Cloud DNS holds ${name}${led}`,
    retryable: false,
    remedy: `Add a CNAME record at ${name} that leads to a name in a zone of this account, or move its zone to Alibaba Cloud DNS.`,
  });
}
