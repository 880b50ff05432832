import { failure, type Send } from './channel.ts';
import { cut, plainText } from './message.ts';

const ENDPOINT = 'https://dm.aliyuncs.com';
const VERSION = '2015-11-23';
/** Of `Subject`: 256 characters. */
const MOST_SUBJECT_BYTES = 250;
/** Of `TextBody`: 80 KB. */
const MOST_BYTES = 60_000;
/** Of `ToAddress`: 100 addresses. */
const MOST_RECEIVERS = 100;

/**
 * Mail by DirectMail's SingleSendMail (https://help.aliyun.com/document_detail/29444.html), signed with the function's
 * own credentials. `from` is a sender address of DirectMail. The entry's url, when it has one, is the endpoint of another
 * region, such as https://dm.ap-southeast-1.aliyuncs.com.
 */
export const sendDirectmail: Send = async (entry, message, { rpc }) => {
  if (entry.to.length > MOST_RECEIVERS) {
    const remedy = 'Give a mailing list as the only address of `to`.';
    throw failure(entry, 'CONFIG_INVALID', `${entry.to.length} addresses are more than the API takes`, remedy);
  }
  await rpc.call({
    endpoint: entry.url?.reveal() ?? ENDPOINT,
    version: VERSION,
    action: 'SingleSendMail',
    parameters: {
      AccountName: entry.from,
      AddressType: '1',
      ReplyToAddress: 'false',
      ToAddress: entry.to.join(','),
      Subject: cut(message.title, MOST_SUBJECT_BYTES),
      TextBody: plainText(message, MOST_BYTES),
    },
    // A second mail at once is worse than none: who asked for a third channel has it.
    policy: { attempts: 1 },
  });
};
