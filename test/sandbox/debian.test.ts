import { expect, test } from 'vitest';
import { chooseDebian, formatSource, parseDeb822, parseOneLine } from './debian.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

test('the one-line form gives mirror, suite, components and keyring; comments and source packages are passed over', () => {
  const text = `
# deb http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=${KEYRING}] http://mirror.example/debian bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
`;

  expect(parseOneLine(text)).toEqual([
    {
      uris: ['http://mirror.example/debian'],
      suites: ['bookworm'],
      components: ['main', 'contrib'],
      signedBy: KEYRING,
    },
    {
      uris: ['http://security.example/debian-security'],
      suites: ['bookworm-security'],
      components: ['main'],
      signedBy: undefined,
    },
  ]);
});

test('the deb822 form gives the same, with comments, continued lines, several suites and disabled paragraphs', () => {
  const text = `Types: deb deb-src
# a snapshot
URIs: http://mirror.example/debian
Suites: trixie
 trixie-updates
Components: main
Signed-By: ${KEYRING}

Types: deb
URIs: http://other.example/debian
Suites: trixie
Components: main
Enabled: no

Types: deb-src
URIs: http://mirror.example/debian
Suites: trixie
Components: main
`;

  expect(parseDeb822(text)).toEqual([
    {
      uris: ['http://mirror.example/debian'],
      suites: ['trixie', 'trixie-updates'],
      components: ['main'],
      signedBy: KEYRING,
    },
  ]);
});

test('an armored key in Signed-By is written as it was read', () => {
  const text = `Types: deb
URIs: http://mirror.example/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFit
 -----END PGP PUBLIC KEY BLOCK-----
`;

  expect(parseDeb822(text).map(formatSource)).toEqual([text]);
});

test("Debian's archive is told from those of others for the same release, and comes first", () => {
  const source = (uri: string, suite: string, component: string) => ({
    uris: [uri],
    suites: [suite],
    components: [component],
    signedBy: undefined,
  });
  const security = source('http://mirror.example/debian-security', 'bookworm-security', 'main');
  const debian = source('http://mirror.example/debian/', 'bookworm', 'main');
  const others = [
    source('https://docker.example/linux/debian', 'bookworm', 'stable'),
    source('https://node.example/node_20.x', 'nodistro', 'main'),
    source('https://postgresql.example/apt', 'bookworm-pgdg', 'main'),
  ];

  expect(chooseDebian([...others, security, debian], 'bookworm')).toEqual([debian, security]);
});
