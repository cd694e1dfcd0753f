// Makes sucrase.cjs: `npm install sucrase@3.35.1 esbuild@0.28.2 && node sucrase.build.mjs OUTPUT`, in a directory with this file.
import { build } from 'esbuild';

const entry = `
import { parse } from 'sucrase/dist/esm/parser/index.js';
import { HelperManager } from 'sucrase/dist/esm/HelperManager.js';
import identifyShadowedGlobals from 'sucrase/dist/esm/identifyShadowedGlobals.js';
import NameManager from 'sucrase/dist/esm/NameManager.js';
import TokenProcessor from 'sucrase/dist/esm/TokenProcessor.js';
import RootTransformer from 'sucrase/dist/esm/transformers/RootTransformer.js';
import getTSImportedNames from 'sucrase/dist/esm/util/getTSImportedNames.js';

// Removed tokens leave blanks, so that what remains keeps its line and column.
TokenProcessor.prototype.removeInitialToken = TokenProcessor.prototype.removeToken = function () {
  const token = this.tokens[this.tokenIndex];
  const blank = (text) => text.replace(/[^\\r\\n\\t ]/g, ' ');
  this.resultCode += blank(this.previousWhitespaceAndComments());
  this.appendTokenPrefix();
  this.resultMappings[this.tokenIndex] = this.resultCode.length;
  this.resultCode += blank(this.code.slice(token.start, token.end));
  this.appendTokenSuffix();
  this.tokenIndex++;
};

export function strip(code) {
  const options = { transforms: ['typescript'], disableESTransforms: true, preserveDynamicImport: true };
  const { tokens, scopes } = parse(code, false, true, false);
  const nameManager = new NameManager(code, tokens);
  const helperManager = new HelperManager(nameManager);
  const tokenProcessor = new TokenProcessor(code, tokens, false, true, helperManager);
  identifyShadowedGlobals(tokenProcessor, scopes, getTSImportedNames(tokenProcessor));
  const context = { tokenProcessor, scopes, nameManager, importProcessor: null, helperManager };
  return new RootTransformer(context, options.transforms, false, options).transform().code;
}
`;

// Transformers for other languages than TypeScript, never constructed.
const unused = /transformers\/(?:CJSImport|JSX|Flow|Jest|ReactDisplayName|ReactHotLoader)Transformer\.js$/;

await build({
  stdin: { contents: entry, resolveDir: '.' },
  bundle: true,
  minify: true,
  format: 'cjs',
  platform: 'node',
  mainFields: ['module', 'main'],
  target: 'node18',
  outfile: process.argv[2],
  banner: { js: '/*! sucrase 3.35.1, TypeScript only; MIT, see LICENSE.sucrase; made by sucrase.build.mjs */' },
  plugins: [{
    name: 'unused',
    setup: ({ onLoad }) => onLoad({ filter: unused }, () => ({ contents: 'export default class {} export const startsWithLowerCase = null;' })),
  }],
});
