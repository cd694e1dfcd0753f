# id: IN-10
# title: a zip bomb
# expect: outcome failed disk_exceeded
# expect: limits disk
# limits: timeout=10s disk=8MiB
# control: only limits

import zipfile

with zipfile.ZipFile("/workspace/b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for number in range(4):
        archive.writestr(f"a{number}", b"0" * (8 << 20))
zipfile.ZipFile("/workspace/b.zip").extractall("/workspace/out")
print("BREACH unpacked")
