# id: FS-12
# title: gain by set-user-id programs
# stopped-by: no-new-privileges
# control: none every mount ignores these bits as well, and the only user there is is the one it has

cp /bin/bash /workspace/b && chmod 6755 /workspace/b
[ "$(/workspace/b -p -c 'id -u; id -G')" = "$(id -u; id -G)" ] || echo "BREACH $(/workspace/b -p -c id)"
found=$(find / -xdev -perm /6000 -not -path '/proc/*' -not -path '/workspace/b' 2>/dev/null)
[ -z "$found" ] || echo "BREACH set-id in the image: $found"
chown 0:0 /workspace/b 2>/dev/null && echo "BREACH chown"
echo HELD
