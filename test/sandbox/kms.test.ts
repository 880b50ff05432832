import RPCClient from '@alicloud/pop-core';
import { afterEach, describe, expect, test } from 'vitest';
import { createKms, type Kms } from './kms.ts';
import { type RpcServer, startRpcServer } from './rpc-server.ts';

let server: RpcServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function start(kms: Kms): Promise<(action: string, parameters: object) => Promise<Record<string, string>>> {
  server = await startRpcServer({
    products: [kms],
    accounts: [
      { accessKeyId: 'id', accessKeySecret: 'secret', userId: 'user' },
      { accessKeyId: 'denied', accessKeySecret: 'secret', userId: 'denied', denied: ['Decrypt'] },
    ],
  });
  const client = new RPCClient({
    endpoint: server.url,
    apiVersion: '2016-01-20',
    accessKeyId: 'id',
    accessKeySecret: 'secret',
  });
  return (action, parameters) => client.request(action, parameters, { method: 'POST' });
}

describe('GenerateDataKey and Decrypt', () => {
  test('a data key comes back from its ciphertext, with the context it was made with', async () => {
    const call = await start(createKms([{ keyId: 'key-1', alias: 'alias/autocert' }]));
    const context = { EncryptionContext: '{"a":"1","b":"2"}' };
    const made = await call('GenerateDataKey', { KeyId: 'alias/autocert', KeySpec: 'AES_256', ...context });
    expect(made['KeyId']).toBe('key-1');
    expect(Buffer.from(made['Plaintext'] ?? '', 'base64')).toHaveLength(32);
    expect(
      Buffer.from(made['CiphertextBlob'] ?? '', 'base64')
        .subarray(0, 36)
        .toString(),
    ).toBe(made['KeyVersionId']);
    const CiphertextBlob = made['CiphertextBlob'];
    const opened = await call('Decrypt', { CiphertextBlob, EncryptionContext: '{"b":"2","a":"1"}' });
    expect(opened).toMatchObject({ Plaintext: made['Plaintext'], KeyId: 'key-1' });
    await expect(call('Decrypt', { CiphertextBlob })).rejects.toMatchObject({ code: 'InvalidParameter' });
  });

  test('each data key is a new one, of the length that was asked for', async () => {
    const call = await start(createKms([{ keyId: 'key-1' }]));
    const first = await call('GenerateDataKey', { KeyId: 'key-1' });
    const second = await call('GenerateDataKey', { KeyId: 'key-1', KeySpec: 'AES_128' });
    const third = await call('GenerateDataKey', { KeyId: 'key-1', NumberOfBytes: '64' });
    const lengths = [first, second, third].map((made) => Buffer.from(made['Plaintext'] ?? '', 'base64').length);
    expect(lengths).toEqual([32, 16, 64]);
    expect(first['CiphertextBlob']).not.toBe(second['CiphertextBlob']);
  });

  test('a key that is unknown, disabled or about to be deleted is refused', async () => {
    const kms = createKms([{ keyId: 'key-1' }]);
    const call = await start(kms);
    const { CiphertextBlob } = await call('GenerateDataKey', { KeyId: 'key-1' });
    await expect(call('GenerateDataKey', { KeyId: 'other' })).rejects.toMatchObject({
      code: 'Forbidden.KeyNotFound',
      entry: { response: { statusCode: 404 } },
    });
    await expect(call('GenerateDataKey', { KeyId: 'alias/none' })).rejects.toMatchObject({
      code: 'Forbidden.AliasNotFound',
    });
    kms.keys.splice(0, 1, { keyId: 'key-1', state: 'Disabled' });
    await expect(call('Decrypt', { CiphertextBlob })).rejects.toMatchObject({
      code: 'Rejected.Disabled',
      entry: { response: { statusCode: 409 } },
    });
    kms.keys.splice(0, 1, { keyId: 'key-1', state: 'PendingDeletion' });
    await expect(call('Decrypt', { CiphertextBlob })).rejects.toMatchObject({ code: 'Rejected.PendingDeletion' });
    kms.keys.splice(0, 1);
    await expect(call('Decrypt', { CiphertextBlob })).rejects.toMatchObject({ code: 'Forbidden.KeyNotFound' });
  });

  test('parameters that are missing or wrong, and a changed ciphertext, are refused', async () => {
    const call = await start(createKms([{ keyId: 'key-1' }]));
    const made = await call('GenerateDataKey', { KeyId: 'key-1' });
    const blob = Buffer.from(made['CiphertextBlob'] ?? '', 'base64');
    blob[blob.length - 1] = (blob.at(-1) ?? 0) ^ 1;
    const refused: [string, object, string][] = [
      ['GenerateDataKey', {}, 'MissingParameter'],
      ['GenerateDataKey', { KeyId: 'key-1', KeySpec: 'AES_512' }, 'InvalidParameter'],
      ['GenerateDataKey', { KeyId: 'key-1', NumberOfBytes: '1025' }, 'InvalidParameter'],
      ['GenerateDataKey', { KeyId: 'key-1', EncryptionContext: 'text' }, 'InvalidParameter'],
      ['Decrypt', {}, 'MissingParameter'],
      ['Decrypt', { CiphertextBlob: 'bm90IG91cnM=' }, 'InvalidParameter'],
      ['Decrypt', { CiphertextBlob: blob.toString('base64') }, 'InvalidParameter'],
    ];
    for (const [action, parameters, code] of refused) {
      await expect(call(action, parameters), `${action} ${JSON.stringify(parameters)}`).rejects.toMatchObject({ code });
    }
  });

  test('RAM refuses with the code of this product', async () => {
    await start(createKms([{ keyId: 'key-1' }]));
    const client = new RPCClient({
      endpoint: server?.url ?? '',
      apiVersion: '2016-01-20',
      accessKeyId: 'denied',
      accessKeySecret: 'secret',
    });
    await expect(client.request('Decrypt', { CiphertextBlob: 'x' }, { method: 'POST' })).rejects.toMatchObject({
      code: 'Forbidden.NoPermission',
      data: { AccessDeniedDetail: { AuthAction: 'kms:Decrypt' } },
    });
  });
});
