import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createOss } from '../../src/aliyun/oss.ts';
import { createRpc } from '../../src/aliyun/rpc.ts';
import { Secret } from '../../src/secret.ts';
import { leaksOf, secretValue, shownBy } from '../canaries.ts';
import { listen, steppedDeps } from './loopback.ts';

/** Everything that a server was sent. */
interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: string;
  readonly body: string;
}
type Echo = (sent: Sent) => {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
};

const quoted = ({ method, url, headers, body }: Sent) =>
  `${method}&${encodeURIComponent(url)}&${headers}&${encodeURIComponent(body)}`;
const json = { 'content-type': 'application/json' };
const xml = { 'content-type': 'application/xml', 'x-oss-request-id': 'R-1' };

const ECHOES: Readonly<Record<string, Echo>> = {
  'a string to sign': (sent) => ({
    status: 400,
    headers: json,
    body: JSON.stringify({
      RequestId: 'R-1',
      HostId: 'h',
      Code: 'SignatureDoesNotMatch',
      Message: `server string to sign is:${quoted(sent)}`,
    }),
  }),
  'a message': (sent) => ({
    status: 400,
    headers: json,
    body: JSON.stringify({ RequestId: quoted(sent), HostId: 'h', Code: quoted(sent), Message: sent.body }),
  }),
  'a page': (sent) => ({
    status: 404,
    headers: { 'content-type': 'text/html' },
    body: `<html>${quoted(sent)} ${sent.body}</html>`,
  }),
  'a redirect': (sent) => ({
    status: 302,
    headers: { location: `http://127.0.0.1:1/?${encodeURIComponent(sent.body)}` },
    body: sent.body,
  }),
  'half an answer': (sent) => ({
    status: 200,
    headers: json,
    body: `{"RequestId":"R","Message":${JSON.stringify(sent.body)}`,
  }),
  'an XML error': (sent) => ({
    status: 403,
    headers: xml,
    body: `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>${encodeURIComponent(sent.body)}</Message><RequestId>${encodeURIComponent(sent.headers)}</RequestId><StringToSign>${encodeURIComponent(quoted(sent))}</StringToSign></Error>`,
  }),
};

const given = fc.record({
  privateKey: secretValue,
  accessKeySecret: secretValue,
  securityToken: secretValue.map((value) => value.replaceAll('\n', '')),
  echo: fc.constantFrom(...Object.keys(ECHOES)),
});

test('F70 P1 what a cloud API or a bucket gives back of a request is in no error and no log line', async () => {
  let echo: Echo | undefined;
  const secretsSent: string[] = [];
  const server = await listen(({ method, url, headers, form }, response) => {
    // A gateway that also knows the secrets it checks against.
    const sent = {
      method,
      url,
      headers: `${JSON.stringify(headers)} ${secretsSent.join(' ')}`,
      body: [...form].map((pair) => pair.join('=')).join('&'),
    };
    const answer = echo?.({ ...sent, body: `${sent.body}&${secretsSent.join('&')}` });
    response.writeHead(answer?.status ?? 500, answer?.headers).end(answer?.body);
  });
  try {
    await fc.assert(
      fc.asyncProperty(given, async ({ privateKey, accessKeySecret, securityToken, echo: name }) => {
        echo = ECHOES[name];
        secretsSent.splice(0, 3, privateKey, accessKeySecret, securityToken);
        const deps = steppedDeps({ start: new Date() });
        const held = {
          accessKeyId: 'STS.NTest',
          accessKeySecret: new Secret(accessKeySecret),
          securityToken: new Secret(securityToken),
        };
        const rpc = createRpc({ credentials: async () => held, deps });
        const oss = createOss({ endpoint: server.url, bucket: 'bucket', credentials: () => held, deps });
        const calls = [
          rpc.call({
            endpoint: server.url,
            version: '2018-05-10',
            action: 'SetDomainServerCertificate',
            parameters: { PrivateKey: new Secret(privateKey) },
          }),
          oss.put('key.json', Buffer.from(privateKey)),
          oss.list('key'),
        ];
        const ended = await Promise.allSettled(calls);
        rpc.close();
        oss.close();
        const errors = ended.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
        expect(errors.length).toBeGreaterThan(0);
        const shown = [
          ...errors.map(shownBy),
          JSON.stringify(deps.lines),
          ...server.received.slice(-30).map(({ url }) => url),
        ].join('\n');
        for (const secret of secretsSent) expect(leaksOf(shown, secret), name).toEqual([]);
      }),
      { numRuns: process.env['AUTOCERT_SOAK'] === '1' ? 2_000 : 40, seed: 70 },
    );
  } finally {
    await server.close();
  }
});
