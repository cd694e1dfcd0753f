// Lets `fetch` of a Node before 24 go by the proxy that the environment names, as curl and Node 24 (NODE_USE_ENV_PROXY) do.
//
// Node has undici inside and no way to `require` it, but the dispatcher that it made is reachable by its symbol
// (github.com/nodejs/undici, docs/docs/api/Global Installation.md), and so is its class: another is made that connects through a tunnel.
'use strict';

const GLOBAL_DISPATCHER = Symbol.for('undici.globalDispatcher.1');

// What `no_proxy` says of a host, as curl reads it: names, with what is below them; `*` is all.
function goesAround(host, list) {
  return list.split(',').map((entry) => entry.trim().toLowerCase()).some((entry) =>
    entry !== '' && (entry === '*' || host === entry || host.endsWith(entry[0] === '.' ? entry : `.${entry}`)));
}

function connectThrough(proxy, options, callback) {
  const { request } = require('http');
  const port = options.port || (options.protocol === 'https:' ? 443 : 80);
  const host = options.hostname;
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  let told = false;
  const tell = (error, socket) => {
    if (!told) {
      told = true;
      callback(error, socket);
    }
  };
  request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: target, headers: { host: target } })
    .once('error', tell)
    .once('response', (response) => {
      response.resume();
      tell(new Error(`the proxy refused ${target}: ${response.statusCode} ${response.statusMessage}`), null);
    })
    .once('connect', (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        tell(new Error(`the proxy refused ${target}: ${response.statusCode} ${response.statusMessage}`), null);
        return;
      }
      const secure = require('tls').connect({ socket, servername: options.servername || host, ALPNProtocols: ['http/1.1'] });
      secure.once('error', tell).once('secureConnect', () => tell(null, secure));
    })
    .end();
}

// Makes the dispatcher. What is plain is asked of the proxy itself, with the whole address (RFC 9112 §3.2.2).
function install(proxy, around) {
  // Whoever reads one of these has undici loaded, which makes its dispatcher.
  void globalThis.Headers;
  const Agent = globalThis[GLOBAL_DISPATCHER].constructor;
  const direct = globalThis[GLOBAL_DISPATCHER];
  const tunnels = new Agent({ connect: (options, callback) => connectThrough(proxy, options, callback) });
  class Proxied extends Agent {
    dispatch(options, handler) {
      const origin = new URL(options.origin);
      if (goesAround(origin.hostname.toLowerCase(), around)) return direct.dispatch(options, handler);
      if (origin.protocol === 'https:') return tunnels.dispatch(options, handler);
      const headers = Array.isArray(options.headers) ? [...options.headers, 'host', origin.host] :
        { ...options.headers, host: origin.host };
      const asked = { ...options, headers, origin: proxy.origin, path: `${origin.origin}${options.path}` };
      return direct.dispatch(asked, handler);
    }
  }
  globalThis[GLOBAL_DISPATCHER] = new Proxied();
}

// Once `fetch` is asked for, and not before: undici takes 20 ms to load.
function prepare() {
  const { https_proxy: named, no_proxy: around = '' } = process.env;
  if (!named || Number(process.versions.node.split('.')[0]) >= 24) return;
  const proxy = new URL(named);
  const own = Object.getOwnPropertyDescriptor(globalThis, 'fetch');
  if (!own || !own.configurable || typeof own.value !== 'function') return;
  const { value: fetch } = own;
  let installed = false;
  const proxied = {
    fetch(input, init = undefined) {
      if (!installed) {
        installed = true;
        install(proxy, around);
      }
      return Reflect.apply(fetch, globalThis, arguments);
    },
  }.fetch;
  Object.defineProperty(globalThis, 'fetch', { ...own, value: proxied });
}

delete require.cache[__filename];
module.exports = { prepare };
