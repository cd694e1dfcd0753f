# id: FS-12
# title: gain by set-user-id programs
# stopped-by: no-new-privileges pivot-root
# control: only pivot-root verify-mounts
# note: In the control it sees the host's programs with such bits; every mount ignores them as well.

cp /bin/bash /workspace/b && chmod 6755 /workspace/b
[ "$(/workspace/b -p -c 'id -u; id -G')" = "$(id -u; id -G)" ] || echo "BREACH $(/workspace/b -p -c id)"
found=$(find / /usr/bin /usr/sbin /usr/lib /usr/local /opt -xdev -type f -perm /6000 -not -path '*/workspace/b' 2>/dev/null)
[ -z "$found" ] || echo "BREACH set-id in the image: $found"
chown 0:0 /workspace/b 2>/dev/null && echo "BREACH chown"
echo HELD
