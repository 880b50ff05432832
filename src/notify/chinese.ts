import type { ErrorCode } from '../errors.ts';

export interface ChineseCause {
  readonly cause: string;
  readonly remedy: string;
}

/** What a code means and what to do about it, for readers of Chinese. The error's own message, in English, stands beside it. */
export function chineseCause(code: string): ChineseCause | undefined {
  const known = Object.entries(CAUSES).find(([one]) => one === code);
  if (!known) return undefined;
  const [cause, remedy] = known[1];
  return { cause, remedy };
}

const WAIT_CA = '通常会自行恢复；若长时间未恢复，请查看证书颁发机构的状态页，或在 acme.fallback 中配置备用机构。';
const WAIT_CLOUD = '通常会自行恢复；若持续出现，请查看阿里云状态页，并凭请求 ID 提交工单。';
const REPORT = '这是程序缺陷，请附上本次运行的日志，反馈给 aliyun-cdn-autocert。';
const CHECK_VALIDATION = '请检查该域名的 DNS 解析和 _acme-challenge 记录，确认证书颁发机构能从公网查询到。';
const CHECK_ACCOUNT = '请检查 acme.contact、externalAccountBinding 与证书颁发机构的账户设置。';
const CHECK_ZONE = '请在云解析 DNS 控制台检查该域名的状态。';

/** One for each code: the type says so. */
const CAUSES: Readonly<Record<ErrorCode, readonly [cause: string, remedy: string]>> = {
  CONFIG_INVALID: ['配置有误', '请按“详情”逐项修正 AUTOCERT_CONFIG。'],
  EVENT_INVALID: ['触发事件的内容无法识别', '请检查触发器的 payload，或将其留空。'],
  FILTER_MATCHED_NOTHING: ['筛选条件没有匹配到任何域名', '请检查 discover 或 only 中的域名是否写错、是否属于本账号。'],
  CREDENTIALS_MISSING: ['没有访问阿里云的凭证', '请为函数配置角色，或设置 ALIBABA_CLOUD_ACCESS_KEY_ID 等环境变量。'],
  CREDENTIALS_REFUSED: ['阿里云拒绝了访问凭证', '请检查函数角色或 AccessKey 是否有效、是否属于本账号。'],
  CREDENTIALS_EXPIRED: ['访问凭证已过期', '请重新触发函数；若反复出现，请检查函数角色。'],
  PERMISSION_DENIED: ['没有调用该接口的权限', '请在函数角色的 RAM 权限策略中允许“详情”所示的操作和资源。'],
  CLOCK_SKEWED: ['本机时间不准确', '请校准运行环境的时间，误差须在 15 分钟以内。'],
  CALL_THROTTLED: ['接口调用过于频繁，被限流', '请调低 cdn.callsPerSecond，或检查是否有其他程序在调用同一接口。'],
  SERVICE_BUSY: ['域名正在配置中，暂时无法修改', '请等待 CDN 控制台中该域名的“配置中”状态结束，之后会自动重试。'],
  SERVICE_UNAVAILABLE: ['云服务暂时不可用', WAIT_CLOUD],
  SERVICE_UNREACHABLE: ['无法连接云服务', '请检查函数的公网访问是否开启；若正常，请查看服务状态页。'],
  RESPONSE_INVALID: ['云服务返回了无法识别的内容', '请检查 endpoints 配置；若无误，请凭请求 ID 反馈。'],
  REQUEST_REFUSED: ['请求被拒绝', '请按“详情”中的错误码查阅该产品的 API 文档。'],
  API_GONE: ['该接口已下线', '请将 cdn.api 设为 SetCdnDomainSSLCertificate 或 auto。'],
  ACCOUNT_SUSPENDED: ['阿里云账号欠费或服务未开通', '请在控制台结清欠费或开通服务。'],
  DOMAIN_NOT_FOUND: ['CDN 中没有该域名', '请在本账号的 CDN 中添加该域名，或从配置中删除它。'],
  DOMAIN_OFFLINE: ['CDN 域名已停用', '请在 CDN 控制台启用该域名，或从配置中删除它。'],
  DOMAIN_HTTPS_OFF: ['CDN 域名未开启 HTTPS', '请在 CDN 控制台为该域名开启 HTTPS。'],
  DOMAIN_PROTECTED: ['CDN 域名处于保护模式', '请联系阿里云客服解除该域名的保护模式。'],
  DOMAIN_REFUSED: ['CDN 不允许修改该域名', '请在 CDN 控制台检查该域名的归属和配置状态。'],
  CERTIFICATE_REFUSED: ['CDN 拒绝了证书', '请用 openssl x509 检查证书；如有异常，请重新签发。'],
  PRIVATE_KEY_REFUSED: ['CDN 拒绝了私钥', '请将该证书的 keyType 设为 rsa2048 后重新签发。'],
  CERTIFICATE_NAME_TAKEN: ['证书名称已被占用', '请在数字证书管理服务中删除或重命名同名证书。'],
  CERTIFICATE_UNKNOWN: ['找不到该证书', '请在数字证书管理服务中确认证书存在且未过期。'],
  CERTIFICATE_NOT_IN_EFFECT: ['证书已设置但未在节点生效', '请凭请求 ID 向 CDN 提交工单。'],
  WORSE_CERTIFICATE: [
    '新证书不如现有证书，已拒绝部署',
    '请核对证书的域名和有效期；确需部署时，请用 --only 指定名称并加 --force。',
  ],
  NOT_SERVED: ['CDN 节点尚未提供新证书', '下次运行会自动重新部署；若持续如此，请凭请求 ID 联系 CDN 支持。'],
  DNS_ZONE_NOT_FOUND: ['云解析中没有对应的域名', '请确认该域名托管在本账号的云解析 DNS 中。'],
  DNS_ZONE_LOCKED: ['云解析中的域名被锁定或已过期', '请在云解析 DNS 控制台解锁或续费该域名。'],
  DNS_RECORD_CONFLICT: ['解析记录冲突', '请删除 _acme-challenge 处冲突的记录，或将其改为指向本账号域名的 CNAME。'],
  DNS_RECORD_QUOTA: ['解析记录数量已达上限', '请删除不需要的记录，或升级云解析版本。'],
  DNS_LOOKUP_FAILED: ['DNS 查询失败', CHECK_ZONE],
  DNS_CNAME_LOOP: ['CNAME 记录出现循环', '请修正 _acme-challenge 的 CNAME 记录。'],
  DNS_NOT_PROPAGATED: [
    '验证记录尚未在所有权威 DNS 服务器生效',
    '请检查域名的 NS 设置，确认所有权威服务器都是云解析的服务器。',
  ],
  ACME_UNREACHABLE: [
    '无法连接证书颁发机构',
    '请检查函数的公网访问和 acme.directoryUrl；若均正常，机构恢复后会自动重试。',
  ],
  ACME_UNAVAILABLE: ['证书颁发机构暂时不可用', WAIT_CA],
  ACME_RESPONSE_INVALID: [
    '证书颁发机构返回了无法识别的内容',
    '请检查 acme.directoryUrl 是否正确；若无误，请稍后再看。',
  ],
  ACME_LIMIT_REACHED: [
    '已达到证书颁发机构的频率限制',
    '无需处理，到时会自动申请；若经常出现，请把更多域名合并到一张证书。',
  ],
  ACME_LIMIT_OUTLASTS_CERTIFICATE: [
    '证书颁发机构的频率限制要到证书即将到期或到期之后才解除',
    '请配置 acme.fallback，由另一家证书颁发机构签发；若已配置，请在日志中查看它为何没有签发。',
  ],
  ACME_ORDER_PENDING: ['订单仍在处理中', '无需处理，下次运行会继续该订单。'],
  ACME_ORDER_INVALID: ['订单验证失败', CHECK_VALIDATION],
  ACME_CHALLENGE_UNAVAILABLE: [
    '证书颁发机构不提供所配置的验证方式',
    '请修改 challenge.type；通配符域名只能使用 dns-01。',
  ],
  CERTIFICATE_FILE_REFUSED: ['放入 inbox 的证书文件未被采用', '请按该文件旁 .refused.txt 中的中文说明处理。'],
  CERTIFICATE_ENDED: [
    '自行放入的证书已过期',
    '请将新证书放入存储的 inbox/；如不再需要，请放入“处理说明”所示的 .remove 空文件。',
  ],
  CERTIFICATE_INVALID: ['签发的证书与申请不符', '请向证书颁发机构反馈；下次运行会重新申请。'],
  ACME_ACCOUNT_DOES_NOT_EXIST: ['证书颁发机构处没有该账户', CHECK_ACCOUNT],
  ACME_ALREADY_REPLACED: ['该证书已被替换过', '无需处理，下次运行会重新申请。'],
  ACME_ALREADY_REVOKED: ['该证书已被吊销', '无需处理，下次运行会重新申请。'],
  ACME_AUTO_RENEWAL_CANCELED: ['自动续期订单已被取消', REPORT],
  ACME_AUTO_RENEWAL_CANCELLATION_INVALID: ['自动续期订单无法取消', REPORT],
  ACME_AUTO_RENEWAL_EXPIRED: ['自动续期订单已过期', REPORT],
  ACME_AUTO_RENEWAL_REVOCATION_NOT_SUPPORTED: ['自动续期的证书不支持吊销', REPORT],
  ACME_BAD_CSR: ['证书颁发机构不接受证书请求', '请检查 keyType 和域名是否为该机构所支持。'],
  ACME_BAD_NONCE: ['证书颁发机构反复拒绝防重放随机数', WAIT_CA],
  ACME_BAD_PUBLIC_KEY: ['证书颁发机构不接受该密钥', '请修改该证书的 keyType，例如 rsa2048。'],
  ACME_BAD_REVOCATION_REASON: ['吊销原因不被接受', REPORT],
  ACME_BAD_SIGNATURE_ALGORITHM: ['签名算法不被接受', REPORT],
  ACME_CAA: ['CAA 记录禁止该机构签发', '请在 DNS 的 CAA 记录中加入该证书颁发机构。'],
  ACME_COMPOUND: ['多个域名验证失败', CHECK_VALIDATION],
  ACME_CONFLICT: ['请求与证书颁发机构处的状态冲突', '无需处理，下次运行会重新申请。'],
  ACME_CONNECTION: ['证书颁发机构无法连接验证地址', '请确认验证地址能从公网访问。'],
  ACME_DNS: ['证书颁发机构查询 DNS 失败', CHECK_VALIDATION],
  ACME_EXTERNAL_ACCOUNT_REQUIRED: [
    '该机构要求外部账户绑定',
    '请在 acme.externalAccountBinding 中填写机构提供的 kid 和 hmacKey。',
  ],
  ACME_INCORRECT_RESPONSE: ['验证内容不正确', CHECK_VALIDATION],
  ACME_INVALID_CONTACT: ['联系邮箱无效', '请在 acme.contact 中填写可用的邮箱地址。'],
  ACME_INVALID_PROFILE: ['该机构不提供所配置的 profile', '请修改或删除 profile。'],
  ACME_MALFORMED: ['证书颁发机构认为请求格式有误', REPORT],
  ACME_ONION_CAA_REQUIRED: ['.onion 域名需要 CAA 信息', '请从配置中删除该域名。'],
  ACME_ORDER_NOT_READY: ['订单尚未就绪', '无需处理，下次运行会继续该订单。'],
  ACME_RATE_LIMITED: ['达到证书颁发机构的频率限制', '请勿手动重试，到期后会自动继续；也可配置 acme.fallback。'],
  ACME_REJECTED_IDENTIFIER: ['证书颁发机构拒绝为该域名签发', '请从该证书中删除被拒绝的域名，或联系证书颁发机构。'],
  ACME_SERVER_INTERNAL: ['证书颁发机构内部错误', WAIT_CA],
  ACME_TLS: ['验证时 TLS 连接失败', '请检查该域名的 HTTPS 服务。'],
  ACME_UNAUTHORIZED: ['域名验证未通过，或账户无权操作', CHECK_VALIDATION],
  ACME_UNKNOWN_DELEGATION: ['证书颁发机构不认识该委托', REPORT],
  ACME_UNKNOWN_PROBLEM: ['证书颁发机构返回了未知错误', '请按“详情”查阅该机构的文档。'],
  ACME_UNSUPPORTED_CONTACT: ['不支持该类联系方式', '请在 acme.contact 中使用 mailto: 地址。'],
  ACME_UNSUPPORTED_IDENTIFIER: ['不支持该类域名', '请从该证书中删除不被支持的域名。'],
  ACME_USER_ACTION_REQUIRED: ['需要在证书颁发机构处人工操作', '请打开“详情”中的链接，按说明同意条款或完成操作。'],
  STORE_UNREADABLE: ['无法读取存储', '请检查 store 的地址，以及函数角色对该 Bucket 的读权限。'],
  STORE_UNWRITABLE: ['无法写入存储', '请检查 store 的地址，以及函数角色对该 Bucket 的写权限。'],
  STORE_CORRUPT: ['存储中的文件已损坏', '请从备份恢复“详情”中的文件，或将其移走后重新开始。'],
  STORE_KEY_WRONG: ['存储的加密密钥不正确', '请检查 encryption 中的密钥；更换密钥时，旧密钥须写入 previousKeys。'],
  STORE_NEWER_VERSION: ['存储由更新版本的程序写入', '请重新部署较新的版本。'],
  LEASE_HELD: ['另一个运行正在进行', '无需处理，由另一个运行或下次运行完成。'],
  LEASE_LOST: ['另一个运行已接手', '无需处理；若反复出现，请将函数的预留并发设为 1。'],
  DEADLINE_REACHED: ['本次运行的时间已用完', '请调大函数的超时时间；未完成的部分由下次运行继续。'],
  INTERNAL: ['程序内部错误', REPORT],
};
