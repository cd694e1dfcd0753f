// The test runner, in this process and as its own program.
import { test, run } from 'node:test';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

fs.mkdirSync('suite');
fs.writeFileSync('suite/a.test.mjs', `import { test, describe, it, mock } from 'node:test'; import assert from 'node:assert';
test('passes', () => assert.ok(true)); test('fails', () => assert.equal(1, 2)); test('skips', { skip: true }, () => {});
describe('group', () => { it('mocks', () => { const f = mock.fn(() => 1); f(); assert.equal(f.mock.callCount(), 1); }); });`);
const told = [];
for await (const { type, data } of run({ files: ['suite/a.test.mjs'], env: {} })) if (/^test:(pass|fail)$/.test(type)) told.push(`${type} ${data.name}`);
console.log(told.filter((line) => !line.includes('suite/')).sort().join('\n'));
const environment = { ...process.env };
delete environment.NODE_TEST_CONTEXT;
const alone = spawnSync(process.execPath, ['--test', '--test-reporter=tap', 'suite/'], { encoding: 'utf8', env: environment });
console.log(alone.status, alone.stdout.split('\n').filter((line) => /^# (tests|pass|fail|skipped) /.test(line)).join(', '));
