# id: FS-103
# title: move, remove or replace the places themselves
# expect: held
# control: only pivot-root verify-mounts mount-directories landlock

for place in /workspace /tmp /dev/shm /home/sandbox /proc /dev /; do
  mv "$place" /tmp/moved 2>/dev/null && echo "BREACH mv $place"
  rmdir "$place" 2>/dev/null && echo "BREACH rmdir $place"
done
rm -rf /workspace /tmp/* /home/sandbox 2>/dev/null
[ -d /workspace ] || echo "BREACH workspace is gone"
ln -s /etc /workspace/etc
mkdir -p /workspace/a && ln -sfn / /workspace/a/b
echo HELD
