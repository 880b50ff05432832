// One instance of Function Compute's nodejs20 runtime: imports the built function, calls its handler once and sends the
// result to the host. Standard output is the function's log, as in FC.

/** @param {object} message */
function send(message) {
  process.send?.(message, () => process.disconnect());
}

/** FC tells the caller of a failed invocation the error's message, type and stack, and nothing else. @param {unknown} error */
function asFcTells(error) {
  if (!(error instanceof Error)) return { errorMessage: String(error), errorType: 'unknown' };
  return { errorMessage: error.message, errorType: error.name, stackTrace: error.stack };
}

process.once(
  'message',
  async (/** @type {{file: string, event: string, context: object}} */ { file, event, context }) => {
    try {
      const { handler } = await import(file);
      send({ result: await handler(Buffer.from(event, 'base64'), context) });
    } catch (error) {
      send({ error: asFcTells(error) });
    }
  },
);
