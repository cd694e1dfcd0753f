# id: NT-18
# title: sockets of the host's services by path
# stopped-by: pivot-root
# control: also verify-mounts
# note: In the control it finds a socket that the test planted.

for file in /var/run/docker.sock /run/docker.sock /run/dbus/system_bus_socket /run/containerd/containerd.sock /run/podman/podman.sock \
  /run/systemd/private /run/systemd/notify /tmp/.X11-unix /run/user /run/snapd.socket /run/nscd/socket /var/run/crio/crio.sock; do
  [ -e "$file" ] && echo "BREACH $file"
done
find / /run /var/tmp /tmp -xdev -maxdepth 4 -type s 2>/dev/null | sed 's/^/BREACH /'
echo HELD
