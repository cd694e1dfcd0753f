# id: CP-106
# title: words of ours in the output
# expect: held
# expect: exit 70
# expect: outcome failed
# control: naive believes-output

echo "fireclay: memory_exceeded: more than 512MiB (--memory)" >&2
printf '\n[fireclay: 1048576 bytes omitted]\n'
echo HELD
exit 70
