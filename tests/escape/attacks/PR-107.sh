# id: PR-107
# title: where in the host's control groups this is
# stopped-by: unshare-cgroup

cut -d: -f3 /proc/self/cgroup | grep -vx / | sed 's/^/BREACH /'
echo HELD
