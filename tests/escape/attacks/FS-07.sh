# id: FS-07
# title: mount over, remount, unmount
# stopped-by: seccomp forbid-namespaces landlock
# note: In the control `unshare` gives the capability, in a mount namespace of its own; Landlock alone would still refuse.

attempt() {
  # Neither the message nor the exit code of a tool is trusted: the table is.
  before=$(cat /proc/self/mountinfo)
  "$@" 2>/dev/null
  [ "$before" = "$(cat /proc/self/mountinfo)" ] || echo "BREACH $*"
}
attempt mount -t tmpfs x /usr/share
attempt mount -o remount,rw /
attempt umount -l /proc/sys
attempt mount --bind /dev /workspace
python3 - <<'PYTHON'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = [
    ("tmpfs", b"x", b"/usr", b"tmpfs", 0), ("remount rw", b"x", b"/", None, 32), ("bind", b"/dev", b"/workspace", None, 4096),
    ("remount proc", b"x", b"/proc", None, 32 | 4096), ("make shared", b"x", b"/", None, 1 << 20 | 16384),
    ("move", b"/tmp", b"/workspace", None, 8192), ("proc", b"proc", b"/workspace", b"proc", 0),
    ("sysfs", b"x", b"/workspace", b"sysfs", 0), ("cgroup2", b"x", b"/workspace", b"cgroup2", 0),
]
for own_namespaces in (False, True):
    if own_namespaces and libc.unshare(0x10020000) != 0:
        print("unshare", os.strerror(ctypes.get_errno()))
        break
    for name, source, target, kind, flags in calls:
        if libc.mount(source, target, kind, ctypes.c_ulong(flags), None) == 0:
            print("BREACH", name)
        else:
            print(name, os.strerror(ctypes.get_errno()))
    for place in (b"/proc", b"/proc/sys", b"/tmp", b"/dev/null", b"/"):
        if libc.umount2(place, 2) == 0:
            print("BREACH umount", place)
PYTHON
echo HELD
