# id: SE-100
# title: secrets and names of the host in the image
# stopped-by: pivot-root
# control: also verify-mounts

for file in /etc/shadow /etc/gshadow /etc/machine-id /etc/ssh/ssh_host_rsa_key /etc/sudoers /root /home/user /etc/fstab /etc/crontab /var/log/dpkg.log \
  /etc/resolv.conf.bak /var/lib/dpkg/status /boot; do
  [ -e "$file" ] && echo "BREACH $file"
done
users=$(cut -d: -f1 /etc/passwd | grep -vxE 'root|nobody|sandbox')
[ -z "$users" ] || echo "BREACH users of the host: $users"
find / -xdev \( -name 'id_rsa*' -o -name '*.pem' -path '*private*' -o -name '.netrc' -o -name '.aws' -o -name '.docker' -o -name '.git-credentials' \
  -o -name '.pypirc' -o -name '.npmrc' -o -name '.bash_history' \) 2>/dev/null | sed 's/^/BREACH /'
grep -rlE 'BEGIN [A-Z ]*PRIVATE KEY' /etc /usr/local /opt/fireclay /home 2>/dev/null | sed 's/^/BREACH /'
echo HELD
