# id: FS-09
# title: write to the image
# stopped-by: mount-root landlock
# control: only pivot-root verify-mounts landlock private-image

{ echo x >> /usr/bin/env; } 2>/dev/null && echo "BREACH env"
touch /etc/passwd 2>/dev/null && echo "BREACH passwd"
rm -rf /usr/lib/git-core 2>/dev/null && [ ! -e /usr/lib/git-core ] && [ -e /usr/bin/git ] && echo "BREACH git-core"
mv /usr/bin/env /tmp/env 2>/dev/null; [ -e /usr/bin/env ] || echo "BREACH mv"
chmod 777 /usr/bin/env 2>/dev/null && echo "BREACH chmod"
mkdir /PWNED /usr/PWNED /etc/PWNED /dev/PWNED /run/PWNED /var/PWNED 2>/dev/null && echo "BREACH mkdir"
for place in / /usr /etc /dev /run /var /opt /home; do { : > "$place/PWNED"; } 2>/dev/null && echo "BREACH $place"; done
sed -i s/root/evil/ /etc/passwd 2>/dev/null && echo "BREACH sed"
truncate -s 0 /usr/bin/env 2>/dev/null && echo "BREACH truncate"
echo HELD
