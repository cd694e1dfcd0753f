// id: FS-01
// title: read host secrets by path
// stopped-by: pivot-root
// control: also verify-mounts

const fs = require('fs');
for (const place of ['/etc', '/root', '/run', '/tmp', '/var/tmp', '/var/lib', '/proc/1/root/etc']) {
  try {
    for (const name of fs.readdirSync(place)) {
      if (/^CANARY|^shadow$/.test(name)) console.log('BREACH', place, fs.readFileSync(place + '/' + name, 'utf8').length);
    }
  } catch (error) {
    console.log(place, error.code);
  }
}
console.log('HELD');
