// Serves the console from src/ before a running service, built anew with each load of the page. For development only.
//     node dev.mjs http://127.0.0.1:8000 [PORT]
import { createServer, request } from "node:http";
import { make } from "./build.mjs";

const service = new URL(process.argv[2] ?? "http://127.0.0.1:8000");
const port = Number(process.argv[3] ?? 5173);
let made = (await make({ minify: false })).files;
const types = { js: "text/javascript", css: "text/css", html: "text/html; charset=utf-8" };
const MAY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; font-src 'self'; frame-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types fireclay-frame";

const server = createServer(async (asked, answer) => {
  const path = new URL(asked.url, "http://x").pathname;
  if (path === "/") made = (await make({ minify: false })).files;
  const name = path === "/" ? "index.html" : /^\/console\/assets\/(.+)$/.exec(path)?.[1];
  const file = name && made.get(name);
  if (file) {
    answer.writeHead(200, { "content-type": types[name.split(".").pop()] ?? "text/plain", "content-security-policy": MAY, "cache-control": "no-store" });
    return answer.end(file);
  }
  const headers = { ...asked.headers, host: service.host };
  if (headers.origin) headers.origin = service.origin;
  const onward = request({ host: service.hostname, port: service.port, path: asked.url, method: asked.method, headers }, (told) => {
    answer.writeHead(told.statusCode, told.headers);
    told.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
});
server.on("upgrade", (asked, socket, head) => {
  const headers = { ...asked.headers, host: service.host, origin: service.origin };
  const onward = request({ host: service.hostname, port: service.port, path: asked.url, headers });
  onward.on("upgrade", (told, far, first) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${Object.entries(told.headers).map(([name, value]) => `${name}: ${value}`).join("\r\n")}\r\n\r\n`);
    far.write(head);
    socket.write(first);
    far.pipe(socket).pipe(far);
    far.on("error", () => socket.destroy());
    socket.on("error", () => far.destroy());
  });
  onward.on("response", (told) => { socket.end(`HTTP/1.1 ${told.statusCode} refused\r\n\r\n`); });
  onward.end();
});
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
