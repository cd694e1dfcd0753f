# id: FS-10
# title: a hard link to the image from where one may write
# stopped-by: mount-directories mount-root
# control: only pivot-root verify-mounts mount-directories landlock

ln /usr/bin/env /workspace/e 2>/dev/null && echo "BREACH link" && echo x >> /workspace/e
ln -P /proc/self/exe /workspace/x 2>/dev/null && echo "BREACH link of exe"
ln -L /proc/self/fd/0 /workspace/y 2>/dev/null && echo "BREACH link of descriptor"
# Between two directories of one tmpfs: each is a mount of its own.
{ echo x > /tmp/file; } 2>/dev/null
ln /tmp/file /workspace/z 2>/dev/null && echo "BREACH link between mounts"
echo x > ~/file
ln ~/file /workspace/z 2>/dev/null && echo "BREACH link from home"
echo HELD
