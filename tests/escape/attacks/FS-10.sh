# id: FS-10
# title: a hard link to the image from where one may write
# stopped-by: mount-directories mount-root
# control: none the places to write to are these mounts: without them nothing can be written at all

ln /usr/bin/env /workspace/e 2>/dev/null && echo "BREACH link" && echo x >> /workspace/e
ln -P /proc/self/exe /workspace/x 2>/dev/null && echo "BREACH link of exe"
ln -L /proc/self/fd/0 /workspace/y 2>/dev/null && echo "BREACH link of descriptor"
# Between two directories of one tmpfs: each is a mount of its own.
echo x > /tmp/file
ln /tmp/file /workspace/z 2>/dev/null && echo "BREACH link between mounts"
echo HELD
