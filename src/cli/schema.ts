import { toJsonSchema } from '@valibot/to-json-schema';
import { ConfigSchema } from '../config/schema.ts';

/** The JSON Schema (draft-07) of the configuration as it is written, for editors. `${NAME}` may stand for any text. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = toJsonSchema(ConfigSchema, { typeMode: 'input', target: 'draft-07' });
  return {
    ...schema,
    title: 'aliyun-cdn-autocert',
    anyOf: [{ required: ['certificates'] }, { required: ['discover'] }],
  };
}
