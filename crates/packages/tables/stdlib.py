"""Makes stdlib.txt: the modules of Python's standard library, and the versions 3.x that have each.

    python stdlib.py PYTHON3.9 PYTHON3.10 PYTHON3.11 PYTHON3.12 PYTHON3.13 [PYTHON3.14] > stdlib.txt

The arguments are interpreters. From 3.10 they say it themselves (`sys.stdlib_module_names`, of all platforms); 3.9 has what its directory
has, and what 3.10 says of other platforms (no module was added in 3.10: docs.python.org/3/whatsnew/3.10.html#new-modules). Without an
interpreter of 3.14, that version is 3.13 and what docs.python.org/3/whatsnew/3.14.html#new-modules and #removed name.
"""

import json
import subprocess
import sys

ASK = """
import json, os, pkgutil, sys, sysconfig
names = set(getattr(sys, "stdlib_module_names", ()))
if not names:
    directories = [sysconfig.get_path("stdlib"), os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")]
    names = {module.name for module in pkgutil.iter_modules(directories)} | set(sys.builtin_module_names)
print(json.dumps([sys.version_info[:2], sorted(names)]))
"""
# `sys.stdlib_module_names` leaves out the library's own tests, and `__main__`; neither is a distribution's.
ALWAYS = {"test", "__main__"}
NEW_IN_3_14 = {"annotationlib", "compression", "_zstd", "_hmac", "_types", "_remote_debugging", "_ast_unparse", "_py_warnings"}


def main():
    versions = {}
    for interpreter in sys.argv[1:]:
        output = subprocess.run([interpreter, "-I", "-S", "-c", ASK], check=True, capture_output=True, text=True).stdout
        (major, minor), names = json.loads(output)
        assert major == 3
        versions[minor] = {name for name in names if name.isidentifier()} | ALWAYS
    platforms = {"_msi", "_overlapped", "_scproxy", "_winapi", "msilib", "msvcrt", "nt", "ossaudiodev", "winreg", "winsound"}
    versions[9] |= platforms & versions[10]
    versions.setdefault(14, versions[13] | NEW_IN_3_14)
    for name in sorted(set().union(*versions.values())):
        has = sorted(minor for minor in versions if name in versions[minor])
        # A module that left does not come back.
        assert has == [minor for minor in sorted(versions) if has[0] <= minor <= has[-1]], (name, has)
        print(name, has[0], has[-1])


main()
