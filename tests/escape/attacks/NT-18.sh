# id: NT-18
# title: sockets of the host's services by path
# stopped-by: pivot-root
# control: none a host without such services would look the same; FS-01 shows the wall

for file in /var/run/docker.sock /run/docker.sock /run/dbus/system_bus_socket /run/containerd/containerd.sock /run/podman/podman.sock \
  /run/systemd/private /run/systemd/notify /tmp/.X11-unix /run/user /run/snapd.socket /run/nscd/socket /var/run/crio/crio.sock; do
  [ -e "$file" ] && echo "BREACH $file"
done
find / -xdev -type s 2>/dev/null | sed 's/^/BREACH /'
echo HELD
