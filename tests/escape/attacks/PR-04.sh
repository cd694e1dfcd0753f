# id: PR-04
# title: control groups: release_agent, and limits of one's own
# stopped-by: pivot-root
# control: also verify-mounts

mkdir -p /tmp/c
mount -t cgroup -o memory x /tmp/c 2>/dev/null && echo "BREACH mount" && echo /workspace/x > /tmp/c/release_agent
[ -n "$(ls /sys/fs/cgroup 2>/dev/null)" ] && echo "BREACH $(ls /sys/fs/cgroup | tr '\n' ' ')"
[ -n "$(find / -name release_agent -not -path '/proc/*' 2>/dev/null | head -1)" ] && echo "BREACH release_agent"
echo HELD
