# id: RS-27
# title: waits that nothing ends
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: naive counts-processor-time

mkfifo /workspace/fifo
exec 3<>/workspace/fifo
cat /dev/zero > /dev/full 2>/dev/null &
flock /workspace/fifo sh -c 'read x < /workspace/fifo' &
python3 -c 'import os; os.vfork() if hasattr(os, "vfork") else None; open("/workspace/fifo2", "w").close(); os.fsync(os.open("/workspace", 0)); import time; time.sleep(100)' &
wait
