import { failure, type Send } from './channel.ts';
import { plainText } from './message.ts';

const VERSION = '2019-01-01';
const MOST_BYTES = 4000;

/**
 * A custom event of CloudMonitor, PutCustomEvent (https://help.aliyun.com/document_detail/115012.html): alert rules on
 * its name bring it to phones. Signed with the function's own credentials. The entry's url, when it has one, is the
 * endpoint. `Time` is the instant in milliseconds.
 */
export const sendCloudmonitor: Send = async (entry, message, { rpc, region, deps }) => {
  if (entry.url === undefined && region === undefined) {
    throw failure(
      entry,
      'CONFIG_INVALID',
      'its region is not known',
      'Set `region` in the configuration, such as cn-hangzhou.',
    );
  }
  await rpc.call({
    endpoint: entry.url?.reveal() ?? `https://metrics.${region}.aliyuncs.com`,
    version: VERSION,
    action: 'PutCustomEvent',
    parameters: {
      'EventInfo.1.EventName': EVENT_NAMES[message.severity],
      'EventInfo.1.Content': plainText(message, MOST_BYTES),
      'EventInfo.1.Time': String(deps.now().getTime()),
    },
    policy: { attempts: 1 },
  });
};

/** A rule on the first alone wakes nobody for good news. */
const EVENT_NAMES = { bad: 'autocert-failing', good: 'autocert-recovered', test: 'autocert-test' };
