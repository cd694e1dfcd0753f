# id: PR-03
# title: have the kernel start a program outside (core_pattern, modprobe, hotplug, binfmt)
# stopped-by: mask-proc landlock
# note: In the control the host's values can be read; only its own root may write them.

for name in core_pattern modprobe hotplug poweroff_cmd usermodehelper/bset; do
  file=/proc/sys/kernel/$name
  before=$(cat "$file" 2>/dev/null)
  [ -n "$before" ] && echo "BREACH $name is $before"
  { echo '|/workspace/x' > "$file"; } 2>/dev/null && [ "$(cat "$file")" != "$before" ] && echo "BREACH wrote $name"
done
{ echo ':x:M::PWN::/workspace/x:' > /proc/sys/fs/binfmt_misc/register; } 2>/dev/null && echo "BREACH binfmt"
[ -e /sys/kernel/uevent_helper ] && echo "BREACH uevent_helper"
echo HELD
