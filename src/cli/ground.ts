import { createAlidns } from '../aliyun/alidns.ts';
import { type Bucket, createBucket } from '../aliyun/bucket.ts';
import { createCdn } from '../aliyun/cdn.ts';
import { createOss, type Oss } from '../aliyun/oss.ts';
import { createRos, type Ros } from '../aliyun/ros.ts';
import { createRpc, type Rpc } from '../aliyun/rpc.ts';
import { type CallerIdentity, getCallerIdentity } from '../aliyun/sts.ts';
import { createLocator } from '../challenge/alidns.ts';
import { createPropagation } from '../challenge/propagation.ts';
import { type Config, configSecrets, loadConfig } from '../config.ts';
import type { Target } from '../deploy.ts';
import type { Deps } from '../deps.ts';
import { AutocertError } from '../errors.ts';
import { configText, createDeps, credentialsOf, type Invocation, loadOptions, secretsOf } from '../invocation.ts';
import type { Secret } from '../secret.ts';
import { createCdnTarget } from '../target/cdn.ts';
import type { StackPlace } from './stack-template.ts';

/** What a stack is deployed from and to: configuration, account, region, and the ways to each service. */
export interface Ground {
  readonly config: Config;
  /** The configuration as it is written: what the functions will read. */
  readonly text: string;
  readonly place: StackPlace;
  readonly identity: CallerIdentity;
  readonly ros: Ros;
  readonly target: Target;
  /** Where the challenge record of a name belongs. */
  readonly locate: ReturnType<typeof createLocator>;
  bucket(name: string): Bucket;
  oss(name: string): Oss;
  readonly deps: Deps;
  readonly secrets: readonly Secret[];
}

export interface GroundOptions {
  /** Of the stack. */
  readonly name: string;
  readonly region?: string | undefined;
}

/** A request to ROS may make it ask every product of the template. Milliseconds. */
const TIMEOUT = 60_000;

/** Connections to what has to be closed are added to `open`. */
export async function openGround(
  { name, region: givenRegion }: GroundOptions,
  given: Invocation,
  open: { close(): void }[],
): Promise<Ground> {
  const invocation = { ...given, region: givenRegion ?? given.region };
  const secrets = secretsOf(invocation);
  const deps = createDeps(invocation, invocation.now(), secrets);
  const text = await configText(invocation, deps, open);
  const config = await loadConfig(text, loadOptions(invocation, deps, open));
  secrets.push(...configSecrets(config));
  const region = regionOf(config, givenRegion);

  const credentials = async () => credentialsOf(invocation);
  const rpc = createRpc({ credentials, deps, timeout: TIMEOUT });
  open.push(rpc);
  // Whose account it is goes first: bad credentials are then said once.
  const identity = await getCallerIdentity(
    rpc,
    invocation.env['ALIBABA_CLOUD_STS_ENDPOINT'] ?? 'https://sts.aliyuncs.com',
  );

  const { endpoints, cdn, dns } = config;
  const endpoint = endpoints.oss ?? `https://oss-${region}.aliyuncs.com`;
  const opened = <T extends { close(): void }>(connection: T): T => {
    open.push(connection);
    return connection;
  };
  return {
    config,
    text,
    place: { name, account: identity.AccountId, region },
    identity,
    ros: rosOf(rpc, invocation, region),
    target: createCdnTarget({ cdn: createCdn({ rpc, endpoint: endpoints.cdn, ...cdn, deps }) }),
    locate: createLocator({
      alidns: createAlidns({ rpc, endpoint: endpoints.alidns, deps }),
      propagation: createPropagation({ dns, deps }),
    }),
    bucket: (bucket) => opened(createBucket({ endpoint, bucket, credentials, deps })),
    oss: (bucket) => opened(createOss({ endpoint, bucket, credentials, deps, timeout: TIMEOUT })),
    deps,
    secrets,
  };
}

/** ROS alone, for what needs no configuration. */
export function openRos(
  region: string,
  invocation: Invocation,
  open: { close(): void }[],
): { readonly ros: Ros; readonly deps: Deps } {
  const deps = createDeps(invocation, invocation.now(), secretsOf(invocation));
  const rpc = createRpc({ credentials: async () => credentialsOf(invocation), deps, timeout: TIMEOUT });
  open.push(rpc);
  return { ros: rosOf(rpc, invocation, region), deps };
}

function rosOf(rpc: Rpc, { env }: Invocation, region: string): Ros {
  return createRos({ rpc, endpoint: env['ALIBABA_CLOUD_ROS_ENDPOINT'] ?? 'https://ros.aliyuncs.com', region });
}

/** A function knows its own region; a configuration that names another one leads it to buckets that are not there. */
function regionOf({ region }: Config, given: string | undefined): string {
  if (given !== undefined && region !== undefined && region !== given) {
    throw new AutocertError({
      code: 'CONFIG_INVALID',
      message: `--region is ${given}, and region in the configuration is ${region}.`,
      retryable: false,
      remedy: 'Take `region` out of the configuration: the functions know where they run.',
    });
  }
  const known = region ?? given;
  if (known === undefined) throw regionMissing();
  return known;
}

export function regionMissing(): AutocertError {
  return new AutocertError({
    code: 'CONFIG_INVALID',
    message: 'There is no region to deploy to.',
    retryable: false,
    remedy: 'Give --region cn-hangzhou, or set ALIBABA_CLOUD_REGION_ID.',
  });
}
