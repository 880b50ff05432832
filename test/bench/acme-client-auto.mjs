/**
 * Issues one certificate for each domain by `auto()` of acme-client, one after the other.
 *
 * Usage: `node acme-client-auto.mjs <directory> <record server> <domain>...`, or `version`.
 */
import { createRequire } from 'node:module';
import acme from 'acme-client';

const [directoryUrl = '', recordsUrl = '', ...domains] = process.argv.slice(2);

/** @param {string} path @param {string} domain @param {string} value */
async function post(path, domain, value) {
  const body = JSON.stringify({ fqdn: `_acme-challenge.${domain}.`, value });
  await fetch(`${recordsUrl}${path}`, { method: 'POST', body });
}

if (directoryUrl === 'version') {
  process.stdout.write(createRequire(import.meta.url)('acme-client/package.json').version);
} else {
  const client = new acme.Client({ directoryUrl, accountKey: await acme.crypto.createPrivateEcdsaKey() });
  for (const domain of domains) {
    const key = await acme.crypto.createPrivateEcdsaKey();
    const [, csr] = await acme.crypto.createCsr({ commonName: domain, altNames: [domain] }, key);
    await client.auto({
      csr,
      email: 'ops@example.com',
      termsOfServiceAgreed: true,
      challengePriority: ['dns-01'],
      skipChallengeVerification: true,
      challengeCreateFn: (_authorization, _challenge, keyAuthorization) => post('/present', domain, keyAuthorization),
      challengeRemoveFn: (_authorization, _challenge, keyAuthorization) => post('/cleanup', domain, keyAuthorization),
    });
  }
}
