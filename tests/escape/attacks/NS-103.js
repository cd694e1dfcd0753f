// id: NS-103
// title: more rights from Node, by every call it has
// stopped-by: set-host-name
// note: The control only shows that the probe sees the host's name; ids and groups have one wall too many to take away.

const os = require('os');
const { spawnSync } = require('child_process');
if (os.hostname() !== 'sandbox') console.log('BREACH', os.hostname());
const acts = {
  setuid: () => process.setuid(0),
  setgid: () => process.setgid(0),
  setgroups: () => process.setgroups([0]),
  initgroups: () => process.initgroups('root', 0),
  priority: () => os.setPriority(-10),
  chroot: () => { if (spawnSync('chroot', ['/tmp']).status !== 0) throw new Error('refused'); },
  unshare: () => { if (spawnSync('python3', ['-c', 'import ctypes; exit(ctypes.CDLL(None).unshare(0x10000000))']).status !== 0) throw new Error('refused'); },
  uid: () => { const ran = spawnSync('id', { uid: 0 }); if (ran.error) throw ran.error; },
};
for (const [name, act] of Object.entries(acts)) {
  try {
    act();
    console.log('BREACH', name);
  } catch (error) {
    console.log(name, error.code || error.message);
  }
}
console.log('HELD');
