import { expect, test } from 'vitest';
import { createKms } from '../../src/aliyun/kms.ts';
import type { RpcCall } from '../../src/aliyun/rpc.ts';

/** What KMS answers, and what it was asked. */
function answering(answer: Record<string, unknown>) {
  const calls: RpcCall[] = [];
  const rpc = {
    async call(call: RpcCall) {
      calls.push(call);
      return answer;
    },
  };
  return { kms: createKms({ rpc, endpoint: 'https://kms.cn-hangzhou.aliyuncs.com' }), calls };
}

test('a data key is asked for by the documented parameters', async () => {
  const Plaintext = Buffer.alloc(32, 5).toString('base64');
  const { kms, calls } = answering({ Plaintext, CiphertextBlob: 'blob', KeyId: 'key-1', RequestId: 'R' });
  const { plaintext, ciphertextBlob } = await kms.generateDataKey('alias/autocert');
  expect([plaintext.reveal(), ciphertextBlob]).toEqual([Plaintext, 'blob']);
  await kms.decrypt('blob');
  expect(calls.map(({ version, action, parameters }) => ({ version, action, parameters }))).toEqual([
    { version: '2016-01-20', action: 'GenerateDataKey', parameters: { KeyId: 'alias/autocert', KeySpec: 'AES_256' } },
    { version: '2016-01-20', action: 'Decrypt', parameters: { CiphertextBlob: 'blob' } },
  ]);
});

test.each([
  { situation: 'without a key', answer: { CiphertextBlob: 'blob' } },
  {
    situation: 'with a key of 16 bytes',
    answer: { CiphertextBlob: 'blob', Plaintext: Buffer.alloc(16).toString('base64') },
  },
  { situation: 'without the encrypted key', answer: { Plaintext: Buffer.alloc(32).toString('base64') } },
])('an answer $situation is no data key', async ({ answer }) => {
  await expect(answering(answer).kms.generateDataKey('key-1')).rejects.toMatchObject({ code: 'RESPONSE_INVALID' });
});
