# id: PR-02
# title: levers and windows of the kernel
# stopped-by: mask-proc landlock

{ echo h > /proc/sysrq-trigger; } 2>/dev/null && echo "BREACH sysrq"
for file in /proc/kcore /dev/mem /dev/kmem /dev/port /dev/kmsg /proc/kmsg /proc/kallsyms /proc/modules /proc/iomem /proc/ioports /proc/config.gz \
  /proc/slabinfo /proc/vmallocinfo /proc/sched_debug /proc/timer_list /proc/kpageflags /proc/interrupts /proc/softirqs; do
  [ -n "$(head -c 8 "$file" 2>/dev/null | tr -d '\0')" ] && echo "BREACH $file"
done
dmesg 2>/dev/null && echo "BREACH dmesg"
echo HELD
