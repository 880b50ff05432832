/** Puts the answer to a challenge where the CA looks for it, and takes it away again. */
export interface Solver {
  readonly type: 'dns-01' | 'http-01';
  /**
   * Makes the key authorization visible and resolves once it is visible to the whole world that the CA may ask (all
   * authoritative name servers). Doing it twice is harmless.
   */
  present(challenge: Challenge): Promise<void>;
  /** Removes exactly what `present` made for this challenge, nothing of anybody else. What is gone already is no error. */
  cleanUp(challenge: Challenge): Promise<void>;
}

export interface Challenge {
  /** The identifier as the CA names it, without `*.`: A-labels, lower case. */
  readonly identifier: string;
  readonly token: string;
  /** RFC 8555 section 8.1; for dns-01 already the base64url digest that goes into the TXT record (section 8.4). */
  readonly keyAuthorization: string;
}
