# id: SG-111
# title: keep the streams open after the end, by a daemon
# expect: held
# expect: outcome completed
# expect: within 500ms
# limits: timeout=3s
# control: only pidns mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup

(setsid sh -c 'setsid sleep 100 & setsid sh -c "while :; do echo late; sleep 0.01; done" &' &)
sleep 0.05
echo HELD
