// ES modules and CommonJS together, JSON imports, dynamic imports, cycles, package exports.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';

fs.writeFileSync('c.cjs', 'exports.named = 1; module.exports.other = require("./d.json").k; exports.dir = __dirname === process.cwd();');
fs.writeFileSync('d.json', '{"k": [1, 2]}');
fs.writeFileSync('e.mjs', 'export default class {}; export const here = import.meta.url.endsWith("e.mjs"); export const up = await Promise.resolve("awaited");');
fs.mkdirSync('node_modules/p/lib', { recursive: true });
fs.writeFileSync('node_modules/p/package.json', '{"name": "p", "exports": {".": {"import": "./lib/i.mjs", "require": "./lib/r.cjs"}}}');
fs.writeFileSync('node_modules/p/lib/i.mjs', 'export default "imported"');
fs.writeFileSync('node_modules/p/lib/r.cjs', 'module.exports = "required"');
fs.writeFileSync('use.mjs', 'export { default as p } from "p";');
const local = (name) => import(pathToFileURL(name).href);
const require = createRequire(pathToFileURL(`${process.cwd()}/x`));
console.log((await local('c.cjs')).named, (await local('c.cjs')).default, require('./c.cjs').dir);
const e = await local('e.mjs');
console.log(e.here, e.up, typeof e.default, (await local('use.mjs')).p, require('p'));
fs.writeFileSync('j.mjs', 'import d from "./d.json" with { type: "json" }; export { d };');
console.log((await local('j.mjs')).d);
await local('missing.mjs').catch((error) => console.log(error.code));
try { require('./missing'); } catch (error) { console.log(error.code); }
console.log((await import('data:text/javascript,export default 42')).default, require('node:module').builtinModules.length > 30);
