# id: NT-01
# title: reach anything outside
# stopped-by: netns
# control: also loopback-up

if [ "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" != lo ]; then
  # Nothing is sent where it would leave the machine.
  echo "BREACH interfaces"
  exit 1
fi
for host in 1.1.1.1 169.254.169.254; do
  timeout 1 bash -c "exec 3<>/dev/tcp/$host/443" 2>&1 | grep -q unreachable || echo "BREACH $host"
done
curl -sm1 http://1.1.1.1/ > /dev/null && echo "BREACH curl"
echo HELD
