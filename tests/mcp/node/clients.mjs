// Both TypeScript SDKs over both transports. Arguments: the program, the address, the data, and where the packages are.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [program, address, data, packages] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const PNG = "class P:\n    def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\nP()";
const text = (result) => result.content.filter((part) => part.type === 'text').map((part) => part.text).join('');

/** Goes through all that the README promises of the tools. */
async function exercise(session, client, call) {
  const { tools } = await client.listTools();
  assert.equal(tools.length, 9);
  await call('run_code', { code: 'x = 20', session, 'a key of the client': 1 });
  const state = await call('run_code', { code: 'x + 22', session });
  assert.equal(text(state), '[result]\n42');
  assert.equal(state.structuredContent.outcome, 'completed');

  const failed = await call('run_code', { code: '1/0', session });
  assert.ok(failed.isError && text(failed).includes('ZeroDivisionError'));
  const incomplete = await call('run_code', {});
  assert.ok(incomplete.isError);
  await assert.rejects(call('no_such_tool', {}));

  const shown = await call('run_code', { code: PNG, session });
  const images = shown.content.filter((part) => part.type === 'image');
  assert.deepEqual(images.map((part) => [part.mimeType, part.data]), [['image/png', 'iVBORw0KGgpyZXN0']]);

  const left = await call('run_code', { code: "open('left.txt', 'w').write('to be read')", session: 'fresh' });
  const link = left.content.find((part) => part.type === 'resource_link');
  const { contents } = await client.readResource({ uri: link.uri });
  assert.equal(contents[0].text, 'to be read');

  const told = [];
  const steps = "import time\nfor i in range(3):\n    print('step', i, flush=True)\n    time.sleep(0.05)";
  await call('run_code', { code: steps, session }, { onprogress: ({ message }) => told.push(message) });
  assert.ok(told.some((message) => message.startsWith('step')), String(told));

  // Taken back in the middle: the session is free again at once.
  const giving = new AbortController();
  const sleeping = call(
    'run_code',
    { code: "import time\nprint('begun', flush=True)\ntime.sleep(60)", session, limits: { timeout_ms: 60000 } },
    { signal: giving.signal, onprogress: ({ message }) => message.startsWith('begun') && giving.abort('enough') },
  );
  await assert.rejects(sleeping);
  const before = Date.now();
  assert.equal(text(await call('run_code', { code: 'x', session })), '[result]\n20');
  assert.ok(Date.now() - before < 20000, 'the session was not free');
  await call('close_session', { session });
}

const pipes = { command: program, args: ['--data', data, 'mcp'], stderr: 'inherit' };
const older = {
  name: 'TypeScript SDK 1',
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/streamableHttp.js')),
  ...(await load('@modelcontextprotocol/sdk/client/stdio.js')),
  modes: [undefined],
  call: (client) => (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
};
const current = {
  name: 'TypeScript SDK 2',
  ...(await load('@modelcontextprotocol/client')),
  ...(await load('@modelcontextprotocol/client/stdio')),
  modes: ['auto', 'legacy'],
  call: (client) => (name, args, options) => client.callTool({ name, arguments: args }, options),
};
for (const sdk of [older, current]) {
  for (const mode of sdk.modes) {
    for (const way of ['http', 'pipes']) {
      const transport =
        way === 'http'
          ? new sdk.StreamableHTTPClientTransport(new URL(`${address}/mcp`))
          : new sdk.StdioClientTransport(pipes);
      const options = mode ? { versionNegotiation: { mode } } : {};
      const client = new sdk.Client({ name: 'exercise', version: '1' }, options);
      await client.connect(transport);
      await exercise(`${sdk.name}-${mode}-${way}`, client, sdk.call(client));
      const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? 'the older protocol';
      await client.close();
      console.log(`ok: ${sdk.name}, ${way}, ${mode ?? 'its only mode'}, speaking ${version}`);
    }
  }
}
