// id: FS-106
// title: write to the image from Node, by every call it has
// stopped-by: mount-root landlock
// control: only pivot-root verify-mounts landlock private-image

const fs = require('fs');
const tries = {
  write: () => fs.writeFileSync('/usr/bin/env', 'x'),
  append: () => fs.appendFileSync('/etc/passwd', 'x'),
  rename: () => fs.renameSync('/usr/bin/env', '/usr/bin/evil'),
  unlink: () => fs.unlinkSync('/usr/bin/env'),
  mkdir: () => fs.mkdirSync('/PWNED'),
  copy: () => fs.copyFileSync('/workspace/main.js', '/usr/PWNED'),
  symlink: () => fs.symlinkSync('/etc/passwd', '/usr/PWNED'),
  link: () => fs.linkSync('/usr/bin/env', '/workspace/env'),
  chmod: () => fs.chmodSync('/usr/bin/env', 0o777),
  utimes: () => fs.utimesSync('/usr/bin/env', 0, 0),
  truncate: () => fs.truncateSync('/usr/bin/env', 0),
  rm: () => fs.rmSync('/usr/share', { recursive: true }),
  exe: () => fs.openSync('/proc/self/exe', 'r+'),
};
for (const [name, act] of Object.entries(tries)) {
  try {
    act();
    console.log('BREACH', name);
  } catch (error) {
    console.log(name, error.code);
  }
}
console.log('HELD');
