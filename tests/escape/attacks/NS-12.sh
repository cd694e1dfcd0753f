# id: NS-12
# title: the host's name and clock
# stopped-by: set-host-name

[ "$(uname -n)" = sandbox ] || echo "BREACH this is $(uname -n)"
hostname evil 2>/dev/null && echo "BREACH hostname"
domainname evil 2>/dev/null && echo "BREACH domainname"
date -s 2000-01-01 2>/dev/null && echo "BREACH date"
[ "$(cat /etc/hostname 2>/dev/null)" = "$(uname -n)" ] || [ ! -e /etc/hostname ] || echo "BREACH /etc/hostname $(cat /etc/hostname)"
[ "$(id -un)" = sandbox ] || echo "BREACH $(id)"
echo HELD
