# id: FS-103
# title: move, remove or replace the places themselves
# expect: held
# control: none a mount point cannot be moved or removed in the namespace that it is in; the scratch file system below is not in sight

for place in /workspace /tmp /dev/shm /home/sandbox /proc /dev /; do
  mv "$place" /tmp/moved 2>/dev/null && echo "BREACH mv $place"
  rmdir "$place" 2>/dev/null && echo "BREACH rmdir $place"
done
rm -rf /workspace /tmp/* /home/sandbox 2>/dev/null
[ -d /workspace ] || echo "BREACH workspace is gone"
ln -s /etc /workspace/etc
mkdir -p /workspace/a && ln -sfn / /workspace/a/b
echo HELD
