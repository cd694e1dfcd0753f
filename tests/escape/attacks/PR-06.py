# id: PR-06
# title: relax one's own limits
# stopped-by: lower-limits

import resource

def attempt(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
        print("BREACH wrote", path)
    except OSError as error:
        print(path, error.strerror)

attempt("/proc/self/oom_score_adj", "-1000")
attempt("/proc/self/uid_map", "0 0 1")
attempt("/proc/self/gid_map", "0 0 1")
attempt("/proc/self/setgroups", "allow")
attempt("/proc/self/coredump_filter", "0xff")
MOST = {"NOFILE": 4096, "CORE": 1, "MEMLOCK": 0, "MSGQUEUE": 0, "SIGPENDING": 4096, "NICE": 0, "RTPRIO": 0, "NPROC": 80, "FSIZE": 512 << 20}
for name, most in MOST.items():
    kind = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(kind)[1]
    if not 0 <= hard <= most:
        print("BREACH", name, "is", hard)
    for wish in (hard + 1, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(kind, (wish, wish))
            print("BREACH raised", name)
        except (OSError, ValueError) as error:
            print(name, error)
print("HELD")
