# id: PR-108
# title: paths, disks and names of the host in the table of mounts
# stopped-by: pivot-root
# control: also verify-mounts

grep -E 'images/|/var/lib|/target/|/home/[^s]|/root|/dev/[vsn][dv]|ext4|xfs|btrfs|cgroup2? |sysfs|fireclay-' /proc/self/mountinfo /proc/self/mounts /proc/self/mountstats |
  sed 's/^/BREACH /'
echo HELD
