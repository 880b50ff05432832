import { BlockList, isIPv6 } from 'node:net';

/**
 * Where no message goes: whatever is not on the public network. An alert's URL could otherwise ask this very machine,
 * the metadata service (169.254.169.254, 100.100.100.200) or a neighbour in the VPC. Sources: the IANA special-purpose
 * address registries (RFC 6890).
 */
const LOOPBACK = ['127.0.0.0/8', '::1/128'];
const NOT_PUBLIC = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  // Shared address space (RFC 6598); Alibaba Cloud's metadata service is in it.
  '100.64.0.0/10',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // The unspecified address, and what is left of IPv4-compatible ones (RFC 4291 section 2.5.5.1).
  '::/96',
  // NAT64 by a prefix of one's own (RFC 8215): what is behind it may be anything.
  '64:ff9b:1::/48',
  '100::/64',
  '2001:db8::/32',
  'fec0::/10',
  'fc00::/7',
  'fe80::/10',
  'ff00::/8',
];

/** Made when the first address is asked about: most runs send no message. */
let lists: { readonly loopback: BlockList; readonly notPublic: BlockList } | undefined;

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', bits = ''] = subnet.split('/');
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** What an IP address, as the resolver gives it, leads to. */
export function kindOfAddress(address: string): 'loopback' | 'internal' | 'public' {
  const plain = address.replace(/%.*$/, '');
  const inner = embeddedIpv4(plain) ?? plain;
  const family = isIPv6(inner) ? 'ipv6' : 'ipv4';
  lists ??= { loopback: blockList(LOOPBACK), notPublic: blockList(NOT_PUBLIC) };
  if (lists.loopback.check(inner, family)) return 'loopback';
  return lists.notPublic.check(inner, family) ? 'internal' : 'public';
}

/** The IPv4 address inside an IPv4-mapped (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC 3056) one, in any spelling. */
function embeddedIpv4(address: string): string | undefined {
  if (!isIPv6(address)) return undefined;
  // The WHATWG parser brings every spelling to one.
  const host = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const match =
    /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host) ??
    /^2002:([0-9a-f]{1,4}):([0-9a-f]{1,4}):/.exec(host);
  const groups = match?.slice(1).map((group) => Number.parseInt(group, 16));
  return groups?.flatMap((group) => [group >> 8, group & 0xff]).join('.');
}
