# id: IN-11
# title: an evil archive: links out, absolute names, devices, a name twice
# expect: held
# expect: artifacts 3
# control: only pivot-root verify-mounts landlock private-image

import io
import os
import tarfile

with tarfile.open("/workspace/e.tar", "w") as archive:
    for name, link, kind in (
        ("../../PWNED", "", tarfile.REGTYPE), ("/etc/PWNED", "", tarfile.REGTYPE), ("ln", "/etc", tarfile.SYMTYPE), ("ln/PWNED", "", tarfile.REGTYPE),
        ("hard", "/etc/passwd", tarfile.LNKTYPE), ("device", "", tarfile.CHRTYPE), ("twice", "", tarfile.REGTYPE), ("twice", "", tarfile.REGTYPE),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 1
        archive.addfile(info, io.BytesIO(b""))
with tarfile.open("/workspace/e.tar") as archive:
    for member in archive:
        try:
            archive.extract(member, "/workspace/out/deep")
        except (OSError, KeyError) as error:
            print(member.name, error)
for path in ("/etc/PWNED", "/PWNED", "/usr/PWNED"):
    if os.path.lexists(path):
        print("BREACH", path)
print("HELD")
