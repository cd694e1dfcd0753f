"""Keeps an interpreter warm and forks it into sandboxes: `python -S zygote.pyc COUNT MODULE… PROGRAM…`, a seqpacket socket at
descriptor 3. COUNT is how many modules there are; the programs are run once they are imported.

Everything here is done once, before any tenant's code exists; a fork does the rest of `runner.py` and is the program. The
forking itself, and all that confines the fork, is native (`guest/zygote`). Descriptors 4 to 15 are taken, so that what a request
brings is above them; in a fork 4 is its errand. Protocol: ../PROTOCOL.md.
"""

import atexit
import builtins
import marshal
import posix
import sys
from gc import collect, freeze
from os import environ

SOCKET, ERRAND, HEAD = 3, 4, 8
DIRECTORY = sys.argv[0].rpartition("/")[0]
# What plain Python has imported by the time a program starts, and what programs import most.
MODULES = "os io re json math time random datetime collections itertools functools string typing traceback _ast".split()
# Variables that the interpreter, its C library or its loader read at their start.
AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_")
# Beginnings of variables, and files of the working directory, that a module reads when it is imported.
AT_IMPORT = {
    "numpy": (("NPY_", "NUMPY_", "OPENBLAS_", "GOTO_", "OMP_"), ()),
    "pandas": (("PANDAS_",), ()),
    "matplotlib": (("MPL", "MATPLOTLIBRC", "XDG_", "HOME"), ("matplotlibrc",)),
}


def load(name):
    """The namespace of a runner of ours, without running its program."""
    namespace = {"__name__": "fireclay", "__builtins__": dict(vars(builtins))}
    with open(f"{DIRECTORY}/{name}", "rb") as file:
        exec(marshal.loads(file.read()[16:]), namespace)
    return namespace


def load_fork():
    """The native half."""
    import _imp

    module = _imp.create_dynamic(type(sys.implementation)(name="fork", origin=f"{DIRECTORY}/fork.so"))
    sys.modules.pop("fork", None)
    return module.serve


def import_all(names):
    for name in names:
        try:
            __import__(name)
        except Exception as error:
            # A program that imports it will see why; one that does not must not miss the rest.
            sys.stderr.write(f"zygote: {name}: {error}\n")


def rehearse(programs):
    """Runs what programs need, so that no fork builds those tables. Often enough for the interpreter to have settled on how."""
    for number, program in enumerate(programs):
        try:
            for _ in range(3):
                exec(compile(program, f"<rehearsal {number}>", "exec", 0, True), {})
        except Exception as error:
            sys.stderr.write(f"zygote: rehearsal {number}: {error}\n")
    scope = {}
    exec(compile("def f(x):\n    return [y for y in x]\nf('a')\n", "<rehearsal>", "exec", 0, True), scope)
    runner["values"]()["bundle"]([1, "a", {"b": None}])
    runner["render"](ValueError("rehearsal"), None)


def read_errand():
    """Arguments, environment, working directory, and whether the program has files besides itself; all bytes. The format is that of
    `crates/sandbox/src/errand.rs`."""
    head = posix.pread(ERRAND, 4096, 0)
    size, length = int.from_bytes(head[:HEAD], "little"), int.from_bytes(head[HEAD : 2 * HEAD], "little")
    while len(head) < HEAD + size:
        head += posix.pread(ERRAND, HEAD + size - len(head), len(head))
    posix.close(ERRAND)
    command = 2 * HEAD
    # An input is a kind, a length and a path with its NUL: of the first, the program, only the path has one of unknown length.
    inputs = head[command + length : HEAD + size]
    alone = inputs.find(b"\0", 1 + HEAD) == len(inputs) - 1
    return *read_command(head[command : command + length]), alone


def read_command(encoded):
    """As `crates/sandbox/src/command.rs` encodes it."""
    args, variables = int.from_bytes(encoded[:4], "little"), int.from_bytes(encoded[4:8], "little")
    words = encoded[8:].split(b"\0")
    return words[:args], words[args : args + variables], words[args + variables]


def await_errand():
    """Waits in a fork that was made before its program is known: for the command, then for a word that its inputs are written."""
    try:
        posix.write(ERRAND, b"ready")
        command = posix.read(ERRAND, 1 << 16)
        if command.startswith(b"import "):  # A command begins with how many words it has.
            import_ahead(command[7:].decode().split())
            posix.write(ERRAND, b"ready")
            command = posix.read(ERRAND, 1 << 16)
        if not command or not posix.read(ERRAND, 1):
            posix._exit(0)  # Nobody needs it any more.
    except OSError:
        posix._exit(0)
    return *read_command(command), False


def import_ahead(names):
    """Imports in the program's own sandbox what it is likely to: a tenant's packages, which no zygote imports. What fails, or says something,
    is left to the program, in an interpreter that has not tried."""
    global PACKAGES, AHEAD, FILES_READ, WARM
    if PACKAGES != (now := [changed(place) for place in PLACES]):
        runner["add_packages"]()
        PACKAGES = now
    try:
        for name in names:
            __import__(name)
        from fcntl import ioctl

        sys.stdout.flush()
        sys.stderr.flush()
        # FIONREAD: nobody has read yet what was written.
        quiet = not any(any(ioctl(stream, 0x541B, bytes(4))) for stream in (1, 2))
    except BaseException:
        quiet = False
    if not quiet:
        posix._exit(0)
    AHEAD, WARM = True, frozenset(sys.modules)
    collect()
    freeze()
    FILES_READ = sum((files for module, (_, files) in AT_IMPORT.items() if module in sys.modules), ())


def is_plain(path, environment, alone):
    """Whether a fork can be what a new interpreter with this environment, for the program at this path, would be."""
    if environment != BIRTH:
        if AHEAD:
            return False  # Nobody knows which variables those modules read.
        for variable in environment:
            if variable not in AT_BIRTH and variable.decode("utf-8", "surrogateescape").startswith(VARIABLES_READ):
                return False
    # A program's own files come before the library's: what is imported already must not be among them.
    directory, _, name = path.rpartition("/")
    names = (name,) if alone else posix.listdir(directory)
    return not any(name.partition(".")[0] in sys.modules or name in FILES_READ for name in names)


def find_numpy_state():
    """The key of numpy's global generator, as memory; None if there is none, or if it is not where this numpy says. To seed by
    `seed()` is Python that touches 200 pages, each of which a fork copies."""
    random = sys.modules.get("numpy.random")
    if random is None:
        return None
    try:
        import ctypes

        generator = random.mtrand._rand._bit_generator
        key = generator.state["state"]["key"].tobytes()
        memory = memoryview((ctypes.c_ubyte * len(key)).from_address(generator.ctypes.state_address)).cast("B")
        random.seed()
        return memory if bytes(memory) == generator.state["state"]["key"].tobytes() else None
    except (AttributeError, KeyError):
        return None


def reseed():
    """Makes different in every fork what must be. (`random` does so itself, by `os.register_at_fork`.)"""
    loaded = sys.modules.get
    if NUMPY_STATE:
        NUMPY_STATE[:] = posix.urandom(len(NUMPY_STATE))
    elif numpy := loaded("numpy.random"):
        numpy.seed()
    if ssl := loaded("_ssl"):
        ssl.RAND_add(posix.urandom(32), 32.0)
    if tempfile := loaded("tempfile"):
        tempfile._name_sequence = None
    if uuid := loaded("uuid"):
        uuid._node = uuid._last_timestamp = None


def directories_below(path):
    """Those that modules made in the home when they were imported; outer ones first."""
    found = []
    for name in sorted(posix.listdir(path)):
        inner = f"{path}/{name}"
        if posix.lstat(inner).st_mode & 0o170000 == 0o040000:
            found += [inner, *directories_below(inner)]
    return found


def make_directories():
    """A fork has a home of its own, in which it finds what its modules remember to have made."""
    for path in MADE:
        try:
            posix.mkdir(path, 0o755)
        except OSError:
            pass


def become():
    """Turns the fork into the program's interpreter; returns what remains to be called: of a run or of a session, whose orders come on
    the socket of the errand."""
    if PID == posix.getpid():
        posix._exit(70)  # Libraries tell a fork by its number.
    reseed()
    make_directories()
    ahead = posix.fstat(ERRAND).st_mode & 0o170000 == 0o140000  # A socket.
    arguments, environment, directory, alone = await_errand() if ahead else read_errand()
    stays = arguments[2].endswith(b"/session.pyc")
    if ahead:
        posix.set_inheritable(ERRAND, True) if stays else posix.close(ERRAND)
    posix.chdir(directory)
    # As `python -S runner.pyc FILE ARGS…` finds them.
    sys.argv[:] = [argument.decode("utf-8", "surrogateescape") for argument in arguments[2:]]
    if not is_plain(directory.decode("utf-8", "surrogateescape") + "/" if stays else sys.argv[1], environment, alone):
        posix.execve(arguments[0], arguments, dict(variable.split(b"=", 1) for variable in environment))
    if environment != BIRTH:
        environ.clear()
        posix.environ.clear()
        for variable in environment:
            name, _, value = variable.partition(b"=")
            posix.environ[name] = value
            environ[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
    runner["channel"].pid = posix.getpid()
    if PACKAGES != [changed(place) for place in PLACES]:
        # A layer of packages lies over what was here: finders see that by the directory's time, `.pth` files are read anew.
        runner["add_packages"]()
    if stays:
        return session["serve"], (session["begin"](runner, ERRAND),)
    return runner["run"], runner["prepare"]()


def changed(path):
    """When a directory was last changed; None if it is not there."""
    try:
        return posix.stat(path).st_mtime_ns
    except OSError:
        return None


def is_library(name):
    """Whether a module is the image's. What such a module leaves behind is done by its exit functions; a program's own may hold files."""
    origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
    return isinstance(origin, str) and (origin in ("built-in", "frozen") or origin.startswith(LIBRARIES))


def finish(namespace):
    """Ends a program that left nothing behind which needs the interpreter's own, slow end. Else returns."""
    threading = sys.modules.get("threading")
    if (threading and len(threading._active) > 1) or len(vars(builtins)) != BUILTINS:
        return
    if len(sys.modules) != len(WARM) and not all(is_library(name) for name in sys.modules if name not in WARM):
        return
    if sys.stdout is not STDOUT or sys.stderr is not STDERR:
        return
    atexit._run_exitfuncs()
    # What the program's names held is let go, so that files are written and `__del__` is called.
    for name in [name for name in namespace if name[:1] == "_" and name[1:2] != "_"]:
        namespace[name] = None
    for name in [name for name in namespace if name != "__builtins__"]:
        namespace[name] = None
    collect()
    try:
        STDOUT.flush()
        STDERR.flush()
    except BaseException:
        return
    posix._exit(0)


import_all(MODULES)
runner, session = load("runner.pyc"), load("session.pyc")
serve = load_fork()
runner["RENAMED_MAX"] = 0  # `compile` is warm here.
runner["is_real"] = lambda path: True  # Nobody has been in a fork's workspace before it.
runner["furnish"]()
PLACES = runner["places_of_packages"]()
PACKAGES = [changed(place) for place in PLACES]
COUNT = 2 + int(sys.argv[1])
import_all(sys.argv[2:COUNT])
rehearse(sys.argv[COUNT:])
MADE = directories_below(environ["HOME"])
READ = [read for module, read in AT_IMPORT.items() if module in sys.modules]
VARIABLES_READ = sum((variables for variables, _ in READ), AT_START)
FILES_READ = sum((files for _, files in READ), ())
NUMPY_STATE = find_numpy_state()
STDOUT, STDERR, PID = sys.stdout, sys.stderr, posix.getpid()
WARM, BUILTINS, LIBRARIES = frozenset(sys.modules), len(vars(builtins)), (sys.prefix + "/lib/", "/usr/local/lib/")
AHEAD = False
BIRTH = [name + b"=" + value for name, value in posix.environ.items()]
AT_BIRTH = frozenset(BIRTH)
collect()
freeze()

try:
    posix.write(SOCKET, b"ready")
except OSError:
    posix._exit(0)  # Nobody needs it any more.
answer = serve(SOCKET)
if answer != 1:
    posix._exit(-answer)
go, program = become()
go(*program)
if go is runner["run"]:
    finish(program[0])
