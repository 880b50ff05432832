import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Deps } from '../deps.ts';

type Agent = HttpAgent | HttpsAgent;

/** The sockets of one run: each call has one for itself, and takes one over from a call that went well. */
export interface Sockets {
  take(endpoint: string): Agent;
  /** The call went well: its socket may serve another one. */
  keep(endpoint: string, agent: Agent): void;
  /** The call did not: whatever is left of it is closed now. */
  drop(agent: Agent): void;
  /** Closes all of them. */
  close(): void;
}

/**
 * Milliseconds. A socket that was idle for longer is not used again: servers close idle sockets, and so does a function
 * instance that was frozen in between, and the next request would fail without its outcome being known.
 */
const IDLE_LIMIT = 4_000;

export function createSockets(deps: Pick<Deps, 'now'>): Sockets {
  const idle: { readonly endpoint: string; readonly agent: Agent; readonly since: number }[] = [];
  const all = new Set<Agent>();

  function drop(agent: Agent): void {
    all.delete(agent);
    agent.destroy();
  }

  return {
    take(endpoint) {
      const now = deps.now().getTime();
      for (const entry of idle.splice(0)) {
        const age = now - entry.since;
        if (age >= 0 && age < IDLE_LIMIT) idle.push(entry);
        else drop(entry.agent);
      }
      const at = idle.findIndex((entry) => entry.endpoint === endpoint);
      const [found] = at < 0 ? [] : idle.splice(at, 1);
      if (found) return found.agent;
      const options = { keepAlive: true, maxSockets: 1, maxFreeSockets: 1 };
      const agent = endpoint.startsWith('https://') ? new HttpsAgent(options) : new HttpAgent(options);
      all.add(agent);
      return agent;
    },
    keep(endpoint, agent) {
      if (all.has(agent)) idle.push({ endpoint, agent, since: deps.now().getTime() });
    },
    drop,
    close() {
      idle.length = 0;
      for (const agent of all) agent.destroy();
      all.clear();
    },
  };
}
