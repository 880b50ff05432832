/** Other ACME clients, run as their users run them: a process for each certificate, an account for all of them. */
import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { hasApt, readDebianSources, unpackPackage } from '../sandbox/debian.mjs';

export interface Peer {
  /** With its version. */
  readonly name: string;
  /** Issues one certificate for each domain, one after the other. */
  issue(domains: readonly string[], where: Where): Promise<void>;
}

export interface Where {
  readonly directoryUrl: string;
  readonly caBundlePath: string;
  /** Takes TXT records: test/bench/record-server.ts. */
  readonly recordsUrl: string;
  readonly resolver: string;
  /** The records are seen late: it looks for them at the resolver, as it does by itself. lego only. */
  readonly waitsForDns?: boolean;
  /** The peer's own, to be made. */
  readonly folder: string;
}

export interface Peers {
  readonly present: readonly Peer[];
  readonly absent: readonly { readonly name: string; readonly reason: string }[];
}

const SANDBOX = fileURLToPath(new URL('../../.sandbox/', import.meta.url));
const ACCOUNT = 'ops@example.com';
const run = promisify(execFile);

export async function peers(): Promise<Peers> {
  const present: Peer[] = [];
  const absent: { name: string; reason: string }[] = [];
  for (const [name, find] of Object.entries({ lego, certbot, 'acme-client': acmeClient })) {
    try {
      present.push(await find());
    } catch (error) {
      absent.push({ name, reason: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) });
    }
  }
  return { present, absent };
}

/** Of Debian's suite forky: a static program, which runs on any of its releases. */
async function lego(): Promise<Peer> {
  const program = join(await unpacked('lego', 'forky'), 'usr/bin/lego');
  const { stdout } = await run(program, ['--version']);
  return {
    name: `lego ${/\d+\.\d+(\.\d+)?/.exec(stdout)?.[0]}`,
    async issue(domains, { directoryUrl, caBundlePath, recordsUrl, resolver, waitsForDns = false, folder }) {
      await mkdir(folder, { recursive: true });
      const env = { PATH: process.env['PATH'], LEGO_CA_CERTIFICATES: caBundlePath, HTTPREQ_ENDPOINT: recordsUrl };
      const common = ['--accept-tos', '--email', ACCOUNT, '--server', directoryUrl, '--path', folder];
      // Its own look at the authoritative name servers needs them on port 53.
      const propagation = waitsForDns
        ? ['--dns.propagation-disable-ans', '--dns.propagation-rns']
        : ['--dns.propagation-wait', '1ms'];
      const dns = ['--dns', 'httpreq', '--dns.resolvers', resolver, ...propagation];
      for (const domain of domains) {
        const command = ['--domains', domain, '--key-type', 'ec256', 'run', '--profile', 'default'];
        await run(program, [...common, ...dns, ...command], { env });
      }
    },
  };
}

/** Of the machine's own release, because it runs with the machine's Python. */
async function certbot(): Promise<Peer> {
  const home = await unpacked('certbot', undefined);
  const program = join(home, 'usr/bin/certbot');
  const env = { PATH: process.env['PATH'], PYTHONPATH: join(home, 'usr/lib/python3/dist-packages'), LC_ALL: 'C.UTF-8' };
  const python = '/usr/bin/python3';
  const { stdout } = await run(python, [program, '--version'], { env });
  return {
    name: `certbot ${/\d+\.\d+(\.\d+)?/.exec(stdout)?.[0]}`,
    async issue(domains, { directoryUrl, caBundlePath, recordsUrl, folder }) {
      await mkdir(folder, { recursive: true });
      const hooks = await writeHooks(folder, new URL(recordsUrl));
      const folders = ['config', 'work', 'logs'].flatMap((name) => [`--${name}-dir`, join(folder, name)]);
      const common = ['certonly', '--non-interactive', '--agree-tos', '--email', ACCOUNT, '--server', directoryUrl];
      const challenge = ['--manual', '--preferred-challenges', 'dns', ...hooks];
      for (const domain of domains) {
        const args = [...common, ...challenge, ...folders, '--key-type', 'ecdsa', '--domain', domain];
        await run(python, [program, ...args], { env: { ...env, REQUESTS_CA_BUNDLE: caBundlePath } });
      }
    },
  };
}

/** A hook that costs as little as a process can: bash speaks TCP by itself. */
async function writeHooks(folder: string, { hostname, port }: URL): Promise<string[]> {
  const script = (path: string) => `#!/bin/bash
body='{"fqdn":"_acme-challenge.'$CERTBOT_DOMAIN'.","value":"'$CERTBOT_VALIDATION'"}'
exec 3<>/dev/tcp/${hostname}/${port}
printf 'POST ${path} HTTP/1.1\\r\\nHost: ${hostname}\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \${#body} "$body" >&3
read -r line <&3
`;
  const options: string[] = [];
  for (const [option, path] of [
    ['--manual-auth-hook', '/present'],
    ['--manual-cleanup-hook', '/cleanup'],
  ] as const) {
    const file = join(folder, `${path.slice(1)}.sh`);
    await writeFile(file, script(path));
    await chmod(file, 0o755);
    options.push(option, file);
  }
  return options;
}

/** The library as its readme uses it, in one process for all the certificates. */
async function acmeClient(): Promise<Peer> {
  const program = fileURLToPath(new URL('./acme-client-auto.mjs', import.meta.url));
  const { stdout } = await run(process.execPath, [program, 'version']);
  return {
    name: `acme-client ${stdout.trim()} auto()`,
    async issue(domains, { directoryUrl, caBundlePath, recordsUrl }) {
      const env = { PATH: process.env['PATH'], NODE_EXTRA_CA_CERTS: caBundlePath };
      await run(process.execPath, [program, directoryUrl, recordsUrl, ...domains], { env });
    },
  };
}

/** A package of Debian below `.sandbox/`, fetched once. */
async function unpacked(packageName: string, suite: string | undefined): Promise<string> {
  const target = join(SANDBOX, `bench-${packageName}`);
  const isThere = await access(target, constants.R_OK).then(
    () => true,
    () => false,
  );
  if (isThere) return target;
  const { codename, sources } = await readDebianSources();
  if (sources.length === 0 || !hasApt()) throw new Error('this machine has no apt-get with the sources of Debian');
  const chosen =
    suite === undefined
      ? sources.map((source) => ({ ...source, suites: source.suites.filter((name) => name.startsWith(codename)) }))
      : sources
          .filter(({ suites }) => !suites.some((name) => name.endsWith('-security')))
          .map((source) => ({ ...source, suites: [suite], components: ['main'] }));
  await mkdir(SANDBOX, { recursive: true });
  const work = await mkdtemp(join(SANDBOX, 'fetch-'));
  try {
    const used = chosen.filter(({ suites }) => suites.length > 0);
    await unpackPackage(packageName, suite === undefined, used, work, join(work, 'root'));
    await rename(join(work, 'root'), target);
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
