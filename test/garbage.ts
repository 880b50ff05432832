import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

/** Resolves once nothing is in memory any more but what something holds. */
export async function garbageCollected(): Promise<void> {
  // What a WeakRef was made of or asked for stays until the end of the job that did it.
  await setImmediate();
  collect();
  // What buffers had outside the heap is given back by another thread, which the next collection waits for.
  collect();
}

/** Bytes that are held: of the heap, and of the buffers outside it. */
export async function bytesHeld(): Promise<number> {
  await garbageCollected();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
