# id: RS-21
# title: thrash the page cache with the image
# limits: timeout=4s memory=48MiB
# control: none memory for files is the kernel's to take back; what a neighbour notices is reported, not judged

end=$(($(date +%s%N) + 1000000000))
while [ "$(date +%s%N)" -lt $end ]; do cat /usr/lib/*/*.so* /usr/bin/* > /dev/null 2>&1; done
echo HELD
