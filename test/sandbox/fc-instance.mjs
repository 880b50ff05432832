// One instance of Function Compute's nodejs20 runtime: imports the built function, calls its handler once and sends the
// result to the host. Standard output is the function's log, as in FC.
process.once('message', async ({ file, event, context }) => {
  const send = (message) => process.send(message, () => process.disconnect());
  try {
    const { handler } = await import(file);
    send({ result: await handler(Buffer.from(event, 'base64'), context) });
  } catch (error) {
    // FC tells the caller of a failed invocation the error's message, type and stack, and nothing else.
    send({ error: { errorMessage: String(error?.message ?? error), errorType: error?.name, stackTrace: error?.stack } });
  }
});
