import type { Ros, StackContent } from '../aliyun/ros.ts';
import { type Finding, good, problem, thrownFindings, warning } from './finding.ts';
import type { Ground } from './ground.ts';

/** Whether the services that the template needs are activated. ROS knows them by the template. */
export async function checkServices({ ros }: { readonly ros: Ros }, content: StackContent): Promise<Finding[]> {
  const services = await ros.getServiceProvisions(content);
  const missing = services.filter(({ Status }) => Status === 'Disabled');
  const unknown = services.filter(({ Status }) => Status !== 'Disabled' && Status !== 'Enabled');
  const enabled = services.filter(({ Status }) => Status === 'Enabled').map(({ ServiceName }) => ServiceName);
  return [
    ...(enabled.length > 0 ? [good(`services: ${enabled.join(', ')} are activated`)] : []),
    ...missing.map(({ ServiceName, EnableURL }) =>
      problem(
        `services: ${ServiceName} is not activated`,
        EnableURL ? `Activate it at ${EnableURL}.` : 'Activate it in its console.',
      ),
    ),
    ...unknown.map(({ ServiceName }) =>
      warning(`services: ROS cannot tell whether ${ServiceName} is activated`, 'Look at it in its console.'),
    ),
  ];
}

/** The bucket that holds certificates, keys and the lease. */
export async function checkStore(
  { config, bucket, place }: Ground,
  storeUrl: string,
): Promise<{ findings: Finding[]; exists: boolean }> {
  const [name = ''] = storeUrl.replace('oss://', '').split('/');
  const findings: Finding[] = [];
  const { store } = config;
  const written = store.type === 'oss' ? `oss://${store.bucket}/${store.prefix}`.replace(/\/$/, '') : 'a file store';
  if (written !== storeUrl) {
    findings.push(
      problem(
        `store: ${written} is not where the functions may write`,
        `Set store to ${storeUrl} in the configuration.`,
      ),
    );
  }
  if (config.acme.caBundle !== undefined) {
    const remedy = 'Take caBundle out: the CA of a deployed function is trusted by the roots of Node.js.';
    findings.push(problem('acme.caBundle is a file of this machine, which the functions do not have', remedy));
  }
  try {
    const versioning = await bucket(name).versioning();
    if (versioning === undefined) findings.push(good(`store: the bucket ${name} is made with the stack`));
    else if (versioning === 'never') findings.push(good(`store: the bucket ${name} is there, without versioning`));
    else {
      findings.push(
        problem(
          `store: versioning of the bucket ${name} is ${versioning}: two runs could both take the lease`,
          `Deploy with another --name than ${place.name}: versioning cannot be taken off a bucket, only suspended.`,
        ),
      );
    }
    return { findings, exists: versioning !== undefined };
  } catch (thrown) {
    return { findings: [...findings, ...thrownFindings(thrown)], exists: true };
  }
}
