/** A double of DirectMail's SingleSendMail, 2015-11-23 (https://help.aliyun.com/document_detail/29444.html). */
import { randomUUID } from 'node:crypto';
import { ApiError, type Product, required } from './product.ts';

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
}

export interface Directmail extends Product {
  readonly mails: readonly Mail[];
}

/** `senders`: the verified sender addresses of the account. */
export function createDirectmail(senders: readonly string[]): Directmail {
  const mails: Mail[] = [];
  return {
    name: 'dm',
    version: '2015-11-23',
    mails,
    actions: {
      SingleSendMail: {
        callsPerSecond: 100,
        handle(parameters) {
          const from = required(parameters, 'AccountName');
          if (!senders.includes(from))
            throw new ApiError(404, 'InvalidMailAddress.NotFound', 'The specified mailAddress does not exist.');
          if (!['0', '1'].includes(required(parameters, 'AddressType')))
            throw new ApiError(400, 'InvalidAddressType', 'The specified AddressType is invalid.');
          if (!['true', 'false'].includes(required(parameters, 'ReplyToAddress'))) {
            throw new ApiError(400, 'InvalidReplyToAddress', 'The specified ReplyToAddress is invalid.');
          }
          const to = required(parameters, 'ToAddress').split(',');
          if (to.length > 100 || !to.every((address) => /^[^@\s]+@[^@\s]+$/.test(address))) {
            throw new ApiError(400, 'InvalidToAddress', 'The specified ToAddress is wrongly formed.');
          }
          const subject = required(parameters, 'Subject');
          if (subject.length > 256)
            throw new ApiError(400, 'InvalidSubject.Malformed', 'The specified subject is wrongly formed.');
          const text = parameters['TextBody'] ?? parameters['HtmlBody'] ?? '';
          if (text === '') throw new ApiError(400, 'InvalidBody', 'The specified textBody or htmlBody is invalid.');
          mails.push({ from, to, subject, text });
          return { EnvId: String(600_000_000 + mails.length), RequestId: randomUUID() };
        },
      },
    },
  };
}
