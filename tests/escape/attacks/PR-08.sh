# id: PR-08
# title: fingerprint the host
# stopped-by: mask-proc
# note: The kernel's release and the processors' model are told on purpose (SECURITY.md).

for file in cmdline keys key-users timer_list pressure/cpu pressure/memory diskstats partitions vmstat zoneinfo buddyinfo locks interrupts \
  sysvipc/shm consoles devices misc crypto cgroups driver/rtc bus/pci/devices scsi/scsi; do
  [ -n "$(cat "/proc/$file" 2>/dev/null | head -c 100 | tr -d '\0')" ] && echo "BREACH /proc/$file"
done
[ "$(cat /proc/loadavg)" = "0.00 0.00 0.00 1/1 2" ] || echo "BREACH loadavg $(cat /proc/loadavg)"
for file in /sys/class/dmi/id/product_uuid /etc/machine-id /var/lib/dbus/machine-id /etc/hostid; do [ -s "$file" ] && echo "BREACH $file"; done
[ "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)" = 524288 ] || echo "BREACH memory of the host"
echo HELD
