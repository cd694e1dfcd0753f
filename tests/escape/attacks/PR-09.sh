# id: PR-09
# title: a sweep of devices
# stopped-by: pivot-root
# control: also verify-mounts

for name in $(ls /dev); do
  case $name in null|zero|full|random|urandom|shm|fd|stdin|stdout|stderr) ;; *) echo "BREACH /dev/$name" ;; esac
done
for file in /dev/kvm /dev/fuse /dev/net/tun /dev/vda /dev/loop0 /dev/loop-control /dev/nvidia0 /dev/vsock /dev/vhost-net /dev/hwrng /dev/tty /dev/ptmx /dev/console; do
  [ -e "$file" ] && echo "BREACH $file"
done
ls -l /dev
echo HELD
