# id: FS-04
# title: a directory descriptor that was leaked (CVE-2024-21626)
# stopped-by: close-descriptors place-descriptors
# note: The supervisor of these tests holds one that is inherited. Without either step the streams are the supervisor's own, too.

for fd in /proc/$$/fd/*; do
  [ "${fd##*/}" = 255 ] && continue
  if [ -d "$fd" ]; then echo "BREACH $fd $(ls "$fd" | head -3)"; fi
done
echo HELD
