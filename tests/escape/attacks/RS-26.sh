# id: RS-26
# title: have the memory killer take somebody else
# stopped-by: prefer-as-oom-victim

[ "$(cat /proc/self/oom_score_adj)" = 1000 ] || echo "BREACH oom_score_adj $(cat /proc/self/oom_score_adj)"
{ echo 0 > /proc/self/oom_score_adj; } 2>/dev/null && echo "BREACH lowered"
echo HELD
