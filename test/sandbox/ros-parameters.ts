/** The parameters of a stack, checked as the template says. */
import type { Parameter, Template } from '../template/read.ts';
import { ApiError } from './product.ts';

type Values = Readonly<Record<string, string>>;

/** `Parameters.N.ParameterKey` and `Parameters.N.ParameterValue`, numbered from 1 without a gap. */
export function parametersOf(parameters: Values): Record<string, string> {
  const values: Record<string, string> = {};
  for (let n = 1; parameters[`Parameters.${n}.ParameterKey`] !== undefined; n += 1) {
    const value = parameters[`Parameters.${n}.ParameterValue`];
    if (value === undefined) throw new ApiError(400, 'MissingParameterValue', 'ParameterValue is mandatory.');
    values[parameters[`Parameters.${n}.ParameterKey`] ?? ''] = value;
  }
  return values;
}

/** Values with the template's defaults. @throws ApiError 400 StackValidationFailed, as ROS does before it makes anything. */
export function readParameters(template: Template, given: Values): Record<string, string> {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(template.Parameters, name))
      throw invalid(`The Parameter (${name}) was not defined in template.`);
  }
  const values: Record<string, string> = {};
  for (const [name, parameter] of Object.entries(template.Parameters)) {
    const value = given[name] ?? (parameter.Default === undefined ? undefined : String(parameter.Default));
    if (value === undefined) throw invalid(`The Parameter (${name}) was not provided.`);
    const reason = whyNot(value, parameter);
    if (reason !== undefined) throw invalid(`Parameter '${name}' is invalid: ${reason}`);
    values[name] = value;
  }
  return values;
}

function whyNot(value: string, parameter: Parameter): string | undefined {
  const { Type, AllowedPattern, AllowedValues, MinValue, MaxValue, NoEcho } = parameter;
  const shown = NoEcho ? '******' : `"${value}"`;
  if (AllowedValues !== undefined && !AllowedValues.map(String).includes(value)) {
    return `${shown} is not an allowed value [${AllowedValues.join(', ')}]`;
  }
  if (AllowedPattern !== undefined && !new RegExp(AllowedPattern).test(value)) {
    return `${shown} does not match pattern "${AllowedPattern}"`;
  }
  if (Type === 'Number') {
    const number = Number(value);
    if (value.trim() === '' || !Number.isFinite(number)) return `could not convert string to float: ${shown}`;
    if ((MinValue !== undefined && number < MinValue) || (MaxValue !== undefined && number > MaxValue)) {
      return `${shown} is out of range (min: ${MinValue}, max: ${MaxValue})`;
    }
  }
  if (Type === 'Json' && !isJson(value)) return 'Value must be valid JSON';
  return undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function invalid(message: string): ApiError {
  return new ApiError(400, 'StackValidationFailed', message);
}
