/** What must be survived. A test belongs to a fault when its full name has the fault's id: `F12 a lost answer ...`. */
export interface Fault {
  readonly id: string;
  readonly fault: string;
  /** What is right when it happens. */
  readonly right: string;
}

const ROWS: Readonly<Record<string, readonly [fault: string, right: string]>> = {
  // The CA
  F1: ['the CA refuses every second nonce', 'every certificate is issued'],
  F2: ['the CA refuses nine nonces of ten', 'every certificate is issued'],
  F3: ['a nonce is refused and no other is given', 'one is fetched'],
  F4: ['a good answer has no nonce', 'one is fetched'],
  F5: ['the CA still knows the authorizations', 'no TXT record is written'],
  F6: ['validation takes its time, nothing is reused', 'it is waited for, without a storm of questions'],
  F7: ['an order stays processing', 'the run ends in time, the next one finishes the same order'],
  F8: ['Retry-After is odd, in the past or far away', 'the wait is bounded, and no busy loop'],
  F9: ['the CA says rateLimited', 'its date is kept, the others are done, nothing is asked before'],
  F10: ['the CA is busy or down', 'no failure counts against the names, the fallback issues'],
  F11: ['500 from each endpoint of the CA', 'tried again with a new nonce'],
  F12: ['the answer of each endpoint is lost', 'no certificate is lost, at most one order more'],
  F13: ['the answer of each endpoint is cut off', 'it is not taken for an answer'],
  F14: ['a valid order names no certificate, or it is 404', 'asked again'],
  F15: ['the certificate is not what was ordered', 'never pushed, and told'],
  F16: ['the preferred chain is there, or absent', 'it is served, or the default with a warning'],
  F17: ['the CA has forgotten or closed the account', 'registered once more, or said'],
  F18: ['the account key or its binding is lost or wrong', 'a clear error, one newAccount a run at most'],
  F19: ['the CA rejects one name of ten', 'that certificate alone fails and the name is told'],
  F20: ['problems with subproblems', 'told for each name'],
  F21: ['the CA refuses replaces', 'ordered once without'],
  F22: ['renewalInfo is hostile, absent or late', 'expiry wins, the next question is bounded, no loop'],
  F23: ['the CA takes a certificate back', 'renewed at once, with a new key'],
  F24: ['the directory changes', 'other origins and http are refused, unknown fields are not'],
  F25: ['the CA refuses the profile', 'its default, with a warning'],
  F26: ['somebody else finalized the order', 'its certificate is downloaded'],
  F27: ['the order expired between two runs', 'a new one'],
  // DNS
  F28: ['name servers fail, lag or have other values', 'waited for, left out or said; nothing stays behind'],
  F29: ['delegation by a chain or a circle of CNAMEs', 'followed, or an error at once'],
  F30: ['apex and wildcard at one name, a slow validation', 'both values stay as long as needed'],
  F31: ['two certificates are delegated to one name', 'the values of both stay'],
  F32: ['CAA forbids, or the validation fails', 'told with the record; no second failure at the CA in that run'],
  F33: ['the DNS API is slow, busy, full or locked', 'a bounded wait, one record, the next run goes on'],
  F34: ['TXT records are left behind', 'the next run takes away its own, and no other'],
  // The cloud API
  F35: ['the API throttles every third call', 'all is done, with at most half as many calls again'],
  F36: ['the API answers with nothing that is an answer', 'never taken for success'],
  F37: ['the answer to a push is lost', 'read back, not pushed again'],
  F38: ['an edge is slow to serve what was pushed', 'neither a success nor another push'],
  F39: ['a domain is gone, stopped or refused', 'told, the others go on'],
  F40: ['an endpoint is not the API', 'the run ends before it changes anything'],
  F41: ['credentials expire in mid-run', 'read again, tried once more, then said'],
  F42: ['the role may not call one action', 'that step fails and names the action'],
  F43: ['the clock is off', 'set by the Date of the answers, or said'],
  F44: ['an event or a value smuggles API parameters', 'nothing of it is sent'],
  // State
  F45: ['the run is killed anywhere', 'no key, no certificate lost, none issued twice'],
  F46: ['what is stored cannot be read', 'never taken for nothing: no order, kept as it is, said'],
  F47: ['the store cannot be written', 'no order, or the same order’s certificate again'],
  F48: ['the lease is held, or lost on the way', 'the other run ends quietly; a late one changes nothing'],
  F49: ['many runs at the same instant', 'one order and one push for each certificate, one account'],
  F50: ['a stored certificate and its key do not fit', 'not deployed, renewed, said'],
  F51: ['the store is set back to yesterday', 'the later certificate stays, and none is ordered'],
  // Time
  F52: ['the clock is slow, or a year ahead', 'no renewal of everything'],
  F53: ['lifetimes of 160 hours to 398 days', 'each is renewed at its time'],
  F54: ['the timer or everything else is away for days', 'nothing ends that could have been renewed'],
  F55: ['a whole fleet ends on one day', 'spread, within the limits of the CA'],
  // The platform
  F56: ['the function is too short for all of them', 'what ends first goes first, the next run goes on'],
  F57: ['FC repeats a failed invocation', 'no order and no push more'],
  F58: ['a timer event is delivered twice', 'the second has nothing to do'],
  F59: ['a cold start without each peer; dead connections', 'said, or opened again without a word'],
  F60: ['little memory, a full disk', 'bounded, and nothing lost'],
  F61: ['SIGTERM', 'ends at once, the next run goes on'],
  // Input
  F62: ['poisoned domains among many', 'all others are done'],
  F63: ['names of every kind', 'normalised, or refused before any call'],
  F64: ['a hundred names and one more', 'issued, and refused'],
  F65: ['a name longer than a common name', 'issued without a common name'],
  F66: ['a configuration made to do harm', 'refused by its size and shape'],
  F67: ['an event made to do harm', 'refused, and nothing is polluted'],
  F68: ['100 KB against each regular expression', 'no time at all'],
  F69: ['a webhook URL that leads inside', 'refused at the address that is connected to'],
  F70: ['whoever gets a secret repeats it', 'it is in no log, error, report or message'],
  F71: ['HTTP by anybody, with any body', 'signed callers alone reach us; refused without work'],
  F72: ['a certificate of a staging CA', 'never in the place of a good one'],
};

export const FAULTS: readonly Fault[] = Object.entries(ROWS).map(([id, [fault, right]]) => ({ id, fault, right }));
