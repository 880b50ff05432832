/** What ROS would refuse, or worse, would not: names that lead nowhere, unknown keys, properties that no type defines. */
import { attributesOf, propertyProblems, triggerProblems } from './definitions.ts';
import { intrinsic, isMap, type Json, type Template } from './read.ts';

/** https://www.alibabacloud.com/help/en/ros/user-guide/pseudo-parameters */
const PSEUDO = ['ALIYUN::Region', 'ALIYUN::StackId', 'ALIYUN::StackName', 'ALIYUN::TenantId', 'ALIYUN::NoValue'];
const FUNCTIONS = ['Ref', 'Fn::GetAtt', 'Fn::Sub', 'Fn::Jq', 'Fn::If'];
const CONDITION_FUNCTIONS = ['Ref', 'Fn::Equals', 'Fn::Not', 'Fn::And', 'Fn::Or'];
const SECTIONS = [
  'ROSTemplateFormatVersion',
  'Description',
  'Metadata',
  'Parameters',
  'Conditions',
  'Resources',
  'Outputs',
];
const PARAMETER_TYPES = ['String', 'Number', 'CommaDelimitedList', 'Json', 'Boolean'];
/** What ros-cdk's RosParameter renders. */
const PARAMETER_KEYS = [
  ...[
    'Type',
    'Default',
    'AllowedPattern',
    'AllowedValues',
    'ConstraintDescription',
    'Description',
    'MaxLength',
    'MaxValue',
  ],
  ...[
    'MinLength',
    'MinValue',
    'NoEcho',
    'Label',
    'AssociationProperty',
    'AssociationPropertyMetadata',
    'Confirm',
    'TextArea',
  ],
  ...['Required', 'Placeholder'],
];
const RESOURCE_KEYS = ['Type', 'Condition', 'DependsOn', 'DeletionPolicy', 'Properties'];

/** One line a finding; none for a template that is right. */
export function problemsOf(template: Template): string[] {
  const { Parameters, Conditions, Resources, Outputs } = template;
  return [
    ...(template.ROSTemplateFormatVersion === '2015-09-01' ? [] : ['the format version is not 2015-09-01']),
    ...strangers('the template', template, SECTIONS),
    ...Object.entries(Parameters).flatMap(([name, parameter]) => [
      ...strangers(name, parameter, PARAMETER_KEYS),
      ...(PARAMETER_TYPES.includes(parameter.Type) ? [] : [`${name}: ${parameter.Type} is no type`]),
    ]),
    ...Object.entries(Conditions).flatMap(([name, value]) =>
      walk(template, value, `condition ${name}`, CONDITION_FUNCTIONS),
    ),
    ...Object.entries(Resources).flatMap(([name, resource]) => [
      ...strangers(name, resource, RESOURCE_KEYS),
      ...propertyProblems(resource.Type, resource.Properties).map((problem) => `${name}: ${problem}`),
      ...(resource.Type === 'ALIYUN::FC3::Trigger'
        ? triggerProblems(resource.Properties['TriggerType'], resource.Properties['TriggerConfig']).map(
            (problem) => `${name}: ${problem}`,
          )
        : []),
      ...(resource.Condition === undefined || resource.Condition in Conditions
        ? []
        : [`${name}: no condition ${resource.Condition}`]),
      ...[resource.DependsOn ?? []]
        .flat()
        .flatMap((other) => (other in Resources ? [] : [`${name}: depends on ${other}, which is not there`])),
      ...walk(template, resource.Properties, name, FUNCTIONS, resource.Condition),
    ]),
    ...Object.entries(Outputs).flatMap(([name, output]) => [
      ...strangers(`output ${name}`, output, ['Description', 'Value', 'Condition']),
      ...walk(template, output.Value, `output ${name}`, FUNCTIONS),
    ]),
  ];
}

function strangers(where: string, map: object, known: readonly string[]): string[] {
  return Object.keys(map).flatMap((key) => (known.includes(key) ? [] : [`${where}: ${key} is not defined`]));
}

/** `condition`: which one certainly holds where the value is, that of its resource or of the Fn::If around it. */
function walk(
  template: Template,
  value: Json,
  where: string,
  functions: readonly string[],
  condition?: string,
): string[] {
  const deeper = (inner: Json, at: string) => walk(template, inner, at, functions, condition);
  if (Array.isArray(value)) return value.flatMap((item: Json, i) => deeper(item, `${where}[${i}]`));
  if (!isMap(value)) return [];
  const call = intrinsic(value);
  if (!call) return Object.entries(value).flatMap(([key, inner]) => deeper(inner, `${where}.${key}`));
  const [name, argument] = call;
  if (!functions.includes(name)) return [`${where}: ${name} is no function that may stand here`];
  if (name === 'Ref') return unresolved(template, argument, where, condition);
  if (name === 'Fn::GetAtt') {
    const path = Array.isArray(argument) ? argument.map(String) : [];
    return path.length === 2
      ? unresolved(template, path.join('.'), where, condition)
      : [`${where}: Fn::GetAtt takes a resource and an attribute`];
  }
  if (name === 'Fn::Sub') {
    const [text, variables = {}] = Array.isArray(argument) ? argument : [argument];
    if (typeof text !== 'string' || !isMap(variables)) return [`${where}: Fn::Sub takes a text and a map`];
    const found = [...text.matchAll(/\$\{([^}]*)\}/g)].flatMap(([, variable = '']) =>
      variable in variables ? [] : unresolved(template, variable, where, condition),
    );
    return [...found, ...deeper(variables, where)];
  }
  if (name === 'Fn::If') {
    const [test = '', yes = null, ...others] = Array.isArray(argument) ? argument : [];
    return [
      ...(String(test) in template.Conditions ? [] : [`${where}: no condition ${String(test)}`]),
      ...walk(template, yes, where, functions, String(test)),
      ...deeper(others, where),
    ];
  }
  return deeper(argument, where);
}

/** `target`: a parameter, a pseudo parameter, a resource, or `resource.attribute`. */
function unresolved(template: Template, target: Json, where: string, condition: string | undefined): string[] {
  const text = String(target);
  if (text in template.Parameters || PSEUDO.includes(text)) return [];
  const [name = '', attribute] = text.split('.');
  const resource = template.Resources[name];
  if (!resource) return [`${where}: ${text} leads nowhere`];
  if (resource.Condition !== undefined && resource.Condition !== condition)
    return [`${where}: ${name} is not always there`];
  if (attribute === undefined) return [];
  return attributesOf(resource.Type).includes(attribute)
    ? []
    : [`${where}: ${resource.Type} has no attribute ${attribute}`];
}
