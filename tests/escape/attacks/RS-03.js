// id: RS-03
// title: more heap than there is, outside of the collector's
// needs: cgroup
// stopped-by: create-cgroup join-cgroup
// control: only limits
// expect: outcome memory_exceeded
// expect: limits memory
// expect: memory 224MiB
// limits: timeout=5s memory=128MiB disk=1MiB

const heap = [];
for (let i = 0; i < 16; i++) heap.push(Buffer.alloc(1 << 24, 1));
console.log('BREACH', heap.length * 16);
