# id: FS-01
# title: read host secrets by path
# stopped-by: pivot-root
# control: also verify-mounts

import glob
import re

SECRETS = ["/etc/shadow", "/root/.ssh/id_rsa", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/proc/1/environ"]
PLACES = ["/etc", "/root", "/run", "/tmp", "/var/tmp", "/var/lib", "/home/*", "/mnt", "/srv", "/proc/1/root/etc", "/proc/1/cwd"]
found = [path for place in PLACES for path in glob.glob(place + "/CANARY*") + glob.glob(place + "/*/CANARY*")]
for path in SECRETS + found:
    try:
        with open(path, "rb") as file:
            text = file.read(200)
        print("BREACH", path, re.findall(rb"CANARY-[-\w]+", text))
    except OSError as error:
        print(path, error)
print("HELD")
