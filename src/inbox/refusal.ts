import { AutocertError } from '../errors.ts';
import { withoutSecrets } from '../redact.ts';

/** Why a file is not taken, and what its owner does about it. */
export interface Refusal {
  readonly en: Words;
  readonly zh: Words;
}

interface Words {
  /** A sentence about the file. */
  readonly why: string;
  readonly remedy: string;
}

function refusal(en: readonly [why: string, remedy: string], zh: readonly [why: string, remedy: string]): Refusal {
  return { en: { why: en[0], remedy: en[1] }, zh: { why: zh[0], remedy: zh[1] } };
}

/** What stands in the file beside a refused one. The same for the same refusal: that it changed is news. */
export function refusalText({ en, zh }: Refusal): string {
  return withoutSecrets(
    `This was not taken; the certificates in place stay as they are.\n\nWhy: ${en.why}\nWhat to do: ${en.remedy}\n\n` +
      `未采用该文件，线上证书保持不变。\n\n原因：${zh.why}\n处理办法：${zh.remedy}\n`,
  );
}

export function refusalError(file: string, { en }: Refusal): AutocertError {
  return new AutocertError({
    code: 'CERTIFICATE_FILE_REFUSED',
    message: `${file} was not taken: ${en.why}`,
    retryable: false,
    remedy: en.remedy,
  });
}

/** PEM, and what every other form is made into. */
const CONVERT = (file: string) => `openssl pkcs12 -in ${file} -out certificate.pem`;

export const refusals = {
  badName: () =>
    refusal(
      [
        'Its name has other characters than letters, digits and ! ( ) _ . * ~ @ = + -.',
        'Upload it again under the name of the domain, www.example.com.pem for example.',
      ],
      ['文件名含有字母、数字和 !()_.*~@=+- 以外的字符。', '请以域名为文件名重新上传，例如 www.example.com.pem。'],
    ),
  tooBig: (most: number) =>
    refusal(
      [
        `It has more than ${most / 1024} KB; no certificate with its key and chain has.`,
        'Upload only the certificate, its chain and its key.',
      ],
      [`文件超过 ${most / 1024} KB，证书、证书链和私钥不会这么大。`, '请只上传证书、证书链和私钥。'],
    ),
  tooMany: (most: number) =>
    refusal(
      [`More than ${most} files belong to it.`, 'Leave the certificate, its chain and its key, and delete the rest.'],
      [`属于它的文件超过 ${most} 个。`, '请只保留证书、证书链和私钥，删除其余文件。'],
    ),
  archive: () =>
    refusal(
      ['It is a ZIP archive.', 'Unpack it, and upload the .pem (or .crt) and .key, or the .pfx, that are in it.'],
      ['这是 ZIP 压缩包。', '请先解压，再上传其中的 .pem（或 .crt）和 .key，或 .pfx 文件。'],
    ),
  noForm: () =>
    refusal(
      [
        'It holds neither PEM nor PKCS#12.',
        'Download the certificate for Nginx (PEM with key) or IIS (PFX) from its CA, and upload that.',
      ],
      ['内容既不是 PEM，也不是 PKCS#12。', '请从证书颁发机构下载 Nginx（PEM 和私钥）或 IIS（PFX）格式的证书后上传。'],
    ),
  damaged: (what: 'certificate' | 'key') =>
    refusal(
      [`A ${what} in it cannot be read: it is damaged or cut off.`, 'Upload the file again, as the CA gave it.'],
      [`其中的${what === 'key' ? '私钥' : '证书'}无法读取：已损坏或不完整。`, '请按证书颁发机构提供的原样重新上传。'],
    ),
  noPassword: () =>
    refusal(
      [
        'It is protected by a password, and the configuration has none.',
        'Put the password into inbox.passwords of the configuration; the next run tries it.',
      ],
      ['文件有密码保护，而配置中没有密码。', '请在配置的 inbox.passwords 中填写密码，下次运行会重试。'],
    ),
  wrongPassword: () =>
    refusal(
      [
        'None of the passwords in inbox.passwords opens it.',
        'Add its password to inbox.passwords of the configuration; the next run tries it.',
      ],
      ['inbox.passwords 中的密码都无法打开该文件。', '请将正确的密码加入配置的 inbox.passwords，下次运行会重试。'],
    ),
  unreadablePkcs12: (file: string) =>
    refusal(
      [
        'It looks like PKCS#12, and is damaged or of a kind that is not read (PBMAC1, other ciphers than AES, 3DES, RC2).',
        `Convert it with "${CONVERT(file)}", whose pass phrase is to be one of inbox.passwords, and upload certificate.pem instead.`,
      ],
      [
        '看起来是 PKCS#12 文件，但已损坏，或采用了不支持的算法（PBMAC1，或 AES、3DES、RC2 以外的加密）。',
        `请执行 “${CONVERT(file)}” 转换（PEM 密码须在 inbox.passwords 中），改为上传 certificate.pem。`,
      ],
    ),
  noCertificate: () =>
    refusal(
      [
        'There is a key, and no certificate to it.',
        'Upload the certificate with its chain beside it under the same name, as www.pem to www.key.',
      ],
      ['只有私钥，没有对应的证书。', '请将证书及证书链以相同的文件名上传到旁边，例如 www.key 对应 www.pem。'],
    ),
  noKey: () =>
    refusal(
      [
        'There is a certificate, and no key to it.',
        'Upload its private key beside it under the same name, as www.key to www.pem.',
      ],
      ['只有证书，没有对应的私钥。', '请将私钥以相同的文件名上传到旁边，例如 www.pem 对应 www.key。'],
    ),
  otherKey: () =>
    refusal(
      [
        'The private key belongs to none of its certificates.',
        'Upload the key that the certificate was requested with, or have the certificate issued again for this key.',
      ],
      ['私钥与证书不匹配。', '请上传申请该证书时使用的私钥，或用现有私钥重新申请证书。'],
    ),
  weakKey: (what: string) =>
    refusal(
      [
        `Its key is ${what}; taken are RSA with 2048, 3072 or 4096 bits, and EC on P-256 or P-384.`,
        'Have the certificate issued again for such a key.',
      ],
      [`密钥类型为 ${what}；仅支持 RSA 2048、3072、4096 位，以及 EC P-256、P-384。`, '请改用上述密钥重新申请证书。'],
    ),
  weakSignature: (subject: string) =>
    refusal(
      [`The signature of ${subject} is by SHA-1 or MD5, which no browser accepts.`, 'Have it issued again.'],
      [`${subject} 使用 SHA-1 或 MD5 签名，浏览器不接受。`, '请重新申请证书。'],
    ),
  selfSigned: () =>
    refusal(
      ['It is signed by itself, and no browser accepts it.', 'Have a certificate issued by a CA.'],
      ['这是自签名证书，浏览器不接受。', '请改用由证书颁发机构签发的证书。'],
    ),
  staging: (issuer: string) =>
    refusal(
      [`It is from a staging CA (${issuer}), which no browser accepts.`, 'Have it issued by the real CA.'],
      [`它由测试环境的机构（${issuer}）签发，浏览器不接受。`, '请改用正式环境签发的证书。'],
    ),
  ended: (subject: string, at: string) =>
    refusal(
      [`${subject} ended at ${at}.`, 'Renew it at its CA, and upload the new one.'],
      [`${subject} 已于 ${at} 过期。`, '请在证书颁发机构续期后上传新证书。'],
    ),
  notYet: (subject: string, at: string) =>
    refusal(
      [`${subject} is not valid before ${at}.`, 'Leave it here: the first run after that takes it.'],
      [`${subject} 在 ${at} 之前尚未生效。`, '无需处理，生效后的首次运行会采用它。'],
    ),
  chainIncomplete: (issuer: string, from: string | undefined) =>
    refusal(
      [
        `Its chain is incomplete: the certificate of its issuer "${issuer}" is missing.`,
        `Add that certificate${from ? ` (${from})` : ''} to the file; of a CA that is not public, also its root.`,
      ],
      [
        `证书链不完整：缺少签发者 “${issuer}” 的证书。`,
        `请将该证书${from ? `（${from}）` : ''}加入文件；若为非公共机构，还需加入其根证书。`,
      ],
    ),
  noNames: () =>
    refusal(
      [
        'It names no domain (subjectAltName), and browsers look nowhere else.',
        'Have it issued again with the names in it.',
      ],
      ['证书中没有域名（subjectAltName），浏览器只认该字段。', '请重新申请包含域名的证书。'],
    ),
  noDomain: (names: string) =>
    refusal(
      [
        `It is for ${names}, and covers no CDN domain of this account that has HTTPS or stands in the configuration.`,
        'Add the domain to the CDN and switch HTTPS on, or name it under certificates; the next run takes the file then.',
      ],
      [
        `证书域名为 ${names}，未覆盖本账号下任何已开启 HTTPS 或已写入配置的 CDN 域名。`,
        '请在 CDN 中添加该域名并开启 HTTPS，或将其写入配置的 certificates；下次运行会采用该文件。',
      ],
    ),
  endsSooner: (domain: string, here: string, brought: string, name: string) =>
    refusal(
      [
        `It ends at ${brought}, and the certificate that ${domain} has now only at ${here}.`,
        `Bring one that lasts longer, or run with {"only": ["${name}"], "force": true} to have it all the same.`,
      ],
      [
        `它将于 ${brought} 到期，早于 ${domain} 现有证书的到期时间 ${here}。`,
        `请更换有效期更长的证书；确需使用时，请以 {"only": ["${name}"], "force": true} 运行。`,
      ],
    ),
  fewerNames: (domain: string, lost: string, name: string) =>
    refusal(
      [
        `It does not cover ${lost}, which the certificate that ${domain} has now covers.`,
        `Have it issued with these names, or run with {"only": ["${name}"], "force": true} to have it all the same.`,
      ],
      [
        `它未覆盖 ${domain} 现有证书所覆盖的 ${lost}。`,
        `请申请包含这些域名的证书；确需使用时，请以 {"only": ["${name}"], "force": true} 运行。`,
      ],
    ),
  unfit: (why: string) =>
    refusal([why, 'Upload what the CA gave, unchanged.'], [why, '请按证书颁发机构提供的原样上传。']),
  nothingToRemove: (known: string) =>
    refusal(
      [
        `No certificate of this name was brought; there are: ${known || 'none'}.`,
        'Delete this file, or name it after one of these.',
      ],
      [`没有以该名称放入的证书；现有：${known || '无'}。`, '请删除该文件，或改为上述名称之一。'],
    ),
} as const;
