# id: FS-01
# title: read host secrets by path
# stopped-by: pivot-root
# control: also verify-mounts

for file in /etc/shadow /root/.ssh/id_rsa /var/run/secrets/kubernetes.io/serviceaccount/token; do
  cat "$file" 2>/dev/null && echo "BREACH $file"
done
find /etc /root /run /tmp /var /home /mnt /srv /proc/1/root/ -maxdepth 3 -name 'CANARY*' 2>/dev/null | while read -r file; do echo "BREACH $file $(cat "$file")"; done
echo HELD
