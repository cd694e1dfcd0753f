# id: RS-19
# title: core dumps
# stopped-by: lower-limits

ulimit -c unlimited 2>/dev/null && echo "BREACH core size"
for i in 1 2 3; do sh -c 'kill -SEGV $$' 2>/dev/null; done
ls core* 2>/dev/null && echo "BREACH core files"
echo HELD
