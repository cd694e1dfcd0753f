# id: NS-01
# title: a user namespace of one's own
# stopped-by: seccomp forbid-namespaces

unshare -Ur id 2>&1 && echo "BREACH unshare"
unshare -U true 2>&1 && echo "BREACH unshare -U"
python3 -c 'import ctypes; l = ctypes.CDLL(None); print("BREACH userns" if l.unshare(0x10000000) == 0 else "no userns")'
bwrap --dev-bind / / id 2>/dev/null && echo "BREACH bwrap"
echo HELD
