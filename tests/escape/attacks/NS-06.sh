# id: NS-06
# title: become root by a program
# stopped-by: pivot-root
# control: also verify-mounts

for program in su sudo pkexec newuidmap newgidmap mount umount passwd chsh doas dbus-daemon-launch-helper; do
  for dir in /bin /usr/bin /sbin /usr/sbin /usr/lib/dbus-1.0; do
    [ -u "$dir/$program" ] && echo "BREACH $dir/$program is there with its bit"
  done
done
[ "$(su -c 'id -u' </dev/null 2>/dev/null)" = 0 ] && echo "BREACH su"
[ "$(sudo -n id -u 2>/dev/null)" = 0 ] && echo "BREACH sudo"
newuidmap $$ 0 0 1 2>/dev/null && echo "BREACH newuidmap"
echo HELD
