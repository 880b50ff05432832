/** The stack that the tests look at: what ROS makes of the template with the parameters that a person fills in. */
import { type Evaluated, evaluate, type Given } from './evaluate.ts';
import { type JsonMap, readTemplate } from './read.ts';

export const template = readTemplate();
export const GIVEN: Given = {
  parameters: {
    CdnDomains: 'www.example.com,*.example.com',
    DnsZones: 'example.com,example.net',
    CodeBucket: 'builds',
  },
  region: 'cn-hangzhou',
  account: '1234567890123456',
  stackId: '4a6c9851-3b0f-4f5f-b4ca-a14bf692ab01',
};
/** The name that the bucket gets. */
export const BUCKET = 'autocert-1234567890123456-cn-hangzhou';

export function evaluated(parameters: Given['parameters'] = {}, more: Partial<Given> = {}): Promise<Evaluated> {
  return evaluate(template, { ...GIVEN, ...more, parameters: { ...GIVEN.parameters, ...parameters } });
}

export function resourcesOf(type: string, { resources }: Evaluated): JsonMap[] {
  return Object.values(resources)
    .filter(({ Type }) => Type === type)
    .map(({ Properties }) => Properties);
}
