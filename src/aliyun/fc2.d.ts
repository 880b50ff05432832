/** The part of the SDK that is used; it comes without declarations. */
declare module '@alicloud/fc2' {
  class Client {
    constructor(
      accountId: string,
      config: {
        accessKeyID: string;
        accessKeySecret: string;
        /** Needed, and used, only for an id that begins with `STS`. */
        securityToken?: string;
        region: string;
        endpoint?: string;
        /** Without it the endpoint is http. */
        secure: boolean;
        /** Milliseconds. */
        timeout?: number;
      },
    );
    invokeFunction(
      serviceName: string,
      functionName: string,
      event: string | Buffer,
      headers?: Record<string, string>,
      qualifier?: string,
      options?: { rawBuf?: boolean },
    ): Promise<{ headers: Record<string, string | undefined>; data: unknown }>;
  }

  // biome-ignore lint/style/noDefaultExport: it declares what the SDK exports.
  export { Client as default };
}
