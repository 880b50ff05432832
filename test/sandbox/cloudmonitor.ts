/** A double of CloudMonitor's PutCustomEvent, 2019-01-01 (https://help.aliyun.com/document_detail/115012.html). */
import { randomUUID } from 'node:crypto';
import { ApiError, type Product, required } from './product.ts';

export interface CustomEvent {
  readonly name: string;
  readonly content: string;
  readonly at: Date;
}

export interface Cloudmonitor extends Product {
  readonly events: readonly CustomEvent[];
}

export function createCloudmonitor(): Cloudmonitor {
  const events: CustomEvent[] = [];
  return {
    name: 'cms',
    version: '2019-01-01',
    events,
    actions: {
      PutCustomEvent: {
        callsPerSecond: 20,
        handle(parameters, now) {
          const name = required(parameters, 'EventInfo.1.EventName');
          const content = required(parameters, 'EventInfo.1.Content');
          const time = parameters['EventInfo.1.Time'] ?? String(now.getTime());
          if (!/^\d{13}$/.test(time)) throw new ApiError(400, 'ParameterInvalid', 'The parameter Time is invalid.');
          events.push({ name, content, at: new Date(Number(time)) });
          // A text, and also in success: pop-core must not take it for an error.
          return { Code: '200', Message: 'success', RequestId: randomUUID() };
        },
      },
    },
  };
}
