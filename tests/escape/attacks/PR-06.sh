# id: PR-06
# title: relax one's own limits
# stopped-by: lower-limits

{ echo -1000 > /proc/self/oom_score_adj; } 2>/dev/null && echo "BREACH oom_score_adj"
ulimit -n 10000 2>/dev/null && echo "BREACH descriptors"
ulimit -c unlimited 2>/dev/null && echo "BREACH core"
ulimit -u unlimited 2>/dev/null && echo "BREACH processes"
ulimit -f unlimited 2>/dev/null && echo "BREACH file size"
nice -n -5 true 2>/dev/null && [ "$(nice -n -5 nice 2>/dev/null)" = -5 ] && echo "BREACH nice"
renice -n -1 $$ >/dev/null 2>&1 && echo "BREACH renice"
echo HELD
