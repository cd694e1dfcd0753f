# id: NS-05
# title: a census of one's rights
# stopped-by: drop-capabilities no-new-privileges seccomp
# control: also landlock
# note: Landlock and seccomp cannot be installed without no_new_privs.

status=$(grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status)
echo "$status"
echo "$status" | grep -E '^Cap' | grep -vE '0000000000000000$' | sed 's/^/BREACH /'
echo "$status" | grep -qE '^NoNewPrivs:.1$' || echo "BREACH new privileges"
echo "$status" | grep -qE '^Seccomp:.2$' || echo "BREACH no filter"
echo "$status" | grep -qE '^Uid:.1000.1000.1000.1000$' || echo "BREACH uid"
echo "$status" | grep -qE '^Gid:.1000.1000.1000.1000$' || echo "BREACH gid"
echo "$status" | grep -qE '^Groups:\s*$' || echo "BREACH groups"
echo HELD
