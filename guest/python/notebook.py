"""What notebooks have beyond Python: `!commands`, figures shown by themselves, forms of libraries' values, `IPython.display`.

Loaded on the first need, by `notebook` of runner.py, which puts `send`, `display`, `values` and `options` into this namespace. Protocol: ../PROTOCOL.md.
"""

import re
import sys

DISPLAY = 2
FIGURES_MAX = 32
COMMAND = re.compile(rb"^(\s*)(?:([A-Za-z_][\w.,\s\[\]'\"]*?)\s*=\s*)?!(.*)$")
MAGIC = re.compile(rb"^(\s*)%(matplotlib\b.*|pip\s.*|cd\s.*)$")
COMMANDS_MAX = 1000


# Forms of values.


def foreign(value):
    """The forms of a value of a library that has them but does not say so, as {mime: JSON text}."""
    if hasattr(value, "savefig") and hasattr(value, "canvas"):
        return values["encoded"]({"image/png": draw(value, "png")})
    if hasattr(value, "to_plotly_json"):
        return {"application/vnd.plotly.v1+json": checked(value.to_json())}
    if type(value).__module__.startswith("altair.vegalite") and hasattr(value, "to_dict"):
        chart = value.to_dict()
        version = re.search(r"/vega-lite/v(\d+)", str(chart.get("$schema")))
        return {"application/vnd.vegalite.v%s+json" % (version.group(1) if version else 5): values["to_json"](chart)}
    return {}


def checked(text):
    """JSON text of a library's own making, if it is JSON."""
    import json

    json.loads(text)
    return values["quote"](text) if not isinstance(text, str) else text


def draw(figure, form):
    """A figure as bytes of PNG or text of SVG, as notebooks draw it."""
    import io

    target = io.BytesIO()
    figure.savefig(target, format=form, bbox_inches="tight", dpi=figure.dpi)
    return target.getvalue() if form == "png" else target.getvalue().decode()


def show_figures():
    """Displays and closes the figures that `pyplot` holds."""
    pyplot = sys.modules["matplotlib.pyplot"]
    try:
        for number in pyplot.get_fignums()[:FIGURES_MAX]:
            figure = pyplot.figure(number)
            if not figure.axes and not figure.texts and not figure.images and not figure.lines:
                continue
            forms = {"text/plain": repr(figure), "image/png": draw(figure, "png")}
            if options.get("svg") is True:
                forms["image/svg+xml"] = draw(figure, "svg")
            show_raw(forms)
    finally:
        pyplot.close("all")


def show_raw(bundle):
    """Displays a MIME bundle as it is."""
    entries = values["encoded"](bundle)
    send(DISPLAY, values["fit"]("text/plain", entries.pop("text/plain", ""), entries))


def display_with(shown, include=None, exclude=None, display_id=None, raw=False, **others):
    """`display` with IPython's options. What a notebook's page would need (identity, metadata) has no place in a run's displays."""
    for value in shown:
        if raw:
            show_raw(value)
        elif include or exclude:
            show_raw({mime: data for mime, data in bundle_of(value).items() if mime in (include or (mime,)) and mime not in (exclude or ())})
        else:
            display(value)
    return DisplayHandle(display_id if isinstance(display_id, str) else None) if display_id else None


def bundle_of(value):
    """The MIME bundle of a value, as objects."""
    import json

    return json.loads(values["bundle"](value))


class DisplayHandle:
    """What `display(…, display_id=True)` returns: later displays follow the first, since a run's output is not redrawn."""

    def __init__(self, display_id=None):
        import uuid

        self.display_id = display_id or uuid.uuid4().hex

    def display(self, value, **options):
        display_with((value,), **options)

    update = display

    def __repr__(self):
        return "<DisplayHandle display_id=%s>" % self.display_id


# Commands.


def parse(source, name, flags):
    """The tree of a program with lines of `!command`, `names = !command` and the magics of MAGIC. Only a line at which the compiler
    stops is taken for one, so that text in strings stays text. Raises `SyntaxError` as the compiler does."""
    lines = source.split(b"\n")
    for _ in range(COMMANDS_MAX):
        try:
            return compile(b"\n".join(lines), name, "exec", flags, True)
        except SyntaxError as error:
            number = (error.lineno or 0) - 1
            # An empty body may be reported where the next statement starts.
            changed = translate(lines[number]) if 0 <= number < len(lines) else None
            if changed is None:
                raise
            lines[number] = changed
            sys.modules["builtins"].__fireclay_command__ = command
    raise SyntaxError("more than %d commands" % COMMANDS_MAX)


def translate(line):
    """A line of Python that does what a line with a command says; None if it has none."""
    found = COMMAND.match(line.rstrip(b"\r"))
    if found:
        indent, target, text = found.groups()
        wanted = b", True" if target else b""
        call = b"__fireclay_command__(%s, globals(), locals()%s)" % (ascii(text.decode("utf-8", "replace").strip()).encode(), wanted)
        return indent + (target + b" = " if target else b"") + call
    found = MAGIC.match(line.rstrip(b"\r"))
    if not found:
        return None
    indent, text = found.groups()
    word, _, rest = text.decode("utf-8", "replace").partition(" ")
    if word == "matplotlib":
        return indent + b"pass"  # Figures are shown anyway.
    if word == "cd":
        return indent + b"__import__('os').chdir(__import__('os').path.expanduser(%s))" % ascii(rest.strip()).encode()
    return indent + b"__fireclay_command__(%s, {}, {})" % ascii("%s -m pip %s" % (sys.executable, rest)).encode()


class Lines(list):
    """The lines that a command printed: `.s` and `.n` are them as one text, joined by spaces and by line ends."""

    s = property(" ".join)
    n = property("\n".join)
    l = property(list)


def command(text, names, inner, wanted=False):
    """Runs a command in a shell; returns its lines if they are wanted. `{expression}` and `$name` are Python's, as far as they are known."""
    import subprocess

    sys.stdout.flush()
    sys.stderr.flush()
    done = subprocess.run(expand(text, names, inner), shell=True, executable=SHELL, stdout=subprocess.PIPE if wanted else None)
    names["_exit_code"] = done.returncode
    return Lines(done.stdout.decode("utf-8", "replace").splitlines()) if wanted else None


def expand(text, names, inner):
    def value(match):
        if match.group(0) == "$$":
            return "$"
        name = match.group(1)
        if name is not None:
            return str(inner[name]) if name in inner else str(names[name]) if name in names else match.group(0)
        try:
            return str(eval(match.group(2), names, inner))
        except Exception:
            return match.group(0)

    return re.sub(r"\$\$|\$([A-Za-z_]\w*)|(?<!\$)\{([^{}]+)\}", value, text)


def find_shell():
    from os import access

    return next((path for path in ("/bin/bash", "/usr/bin/bash") if access(path, 1)), "/bin/sh")


SHELL = find_shell()


# Modules that show things on screens.


def find_changed(finder, name, path):
    """The spec of a module that is changed once it is imported."""
    for other in sys.meta_path:
        spec = None if other is finder else other.find_spec(name, path, None)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                change(module)

            spec.loader.exec_module = exec_module
            return spec
    return stand_in(name)


def change(module):
    """Makes a module's displays the run's."""
    name = module.__name__
    if name == "matplotlib.pyplot":

        def show(*args, **kwargs):
            show_figures()

        module.show = show
    elif name == "plotly.io._renderers":

        def show(figure, *args, **kwargs):
            display(figure)

        module.show = show
    elif name in ("IPython.core.display_functions", "IPython.display"):
        for known, function in FUNCTIONS.items():
            if hasattr(module, known):
                setattr(module, known, function)


def publish_display_data(data, metadata=None, *, transient=None, **others):
    show_raw(data)


def update_display(value, *, display_id=None, **options):
    options.pop("update", None)
    display_with((value,), **options)


def clear_output(wait=False):
    """Nothing: what was displayed stays."""


FUNCTIONS = {
    "display": display,
    "update_display": update_display,
    "clear_output": clear_output,
    "publish_display_data": publish_display_data,
}


# `IPython.display`, where IPython is not installed.


class DisplayObject:
    """Data with one MIME type, from an argument, a file or nothing else: nothing is fetched."""

    mime, binary = "text/plain", False

    def __init__(self, data=None, url=None, filename=None, **options):
        if filename is not None and data is None:
            with open(filename, "rb" if self.binary else "r") as file:
                data = file.read()
        self.data, self.url, self.filename, self.options = data, url, filename, options

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self)}
        if self.data is not None:
            bundle[self.mime] = self.data
        return bundle

    def __repr__(self):
        return "<IPython.core.display.%s object>" % type(self).__name__


def kinds():
    """The classes of `IPython.display`, by name."""
    forms = {
        "HTML": "text/html", "Markdown": "text/markdown", "Latex": "text/latex", "SVG": "image/svg+xml", "JSON": "application/json",
        "Javascript": "application/javascript", "Pretty": "text/plain",
    }  # fmt: skip
    found = {name: type(name, (DisplayObject,), {"mime": mime}) for name, mime in forms.items()}

    class Math(found["Latex"]):
        def _repr_mimebundle_(self, include=None, exclude=None):
            return {"text/plain": repr(self), "text/latex": "$\\displaystyle %s$" % self.data.strip("$")}

    class Image(DisplayObject):
        binary = True

        def __init__(self, data=None, url=None, filename=None, **options):
            if isinstance(data, str):
                data, filename = None, data
            DisplayObject.__init__(self, data, url, filename, **options)
            self.mime = "image/jpeg" if (self.data or b"")[:2] == b"\xff\xd8" else "image/png"

    return {**found, "Math": Math, "Image": Image, "DisplayObject": DisplayObject, "DisplayHandle": DisplayHandle}


def stand_in(name):
    """A spec of `IPython` or `IPython.display` with what is above; None for other modules."""
    if name not in ("IPython", "IPython.display"):
        return None
    from importlib.machinery import ModuleSpec

    class Loader:
        def create_module(self, spec):
            return None

        def exec_module(self, module):
            if name == "IPython":
                module.get_ipython = lambda: None
                return
            for known, thing in {**kinds(), **FUNCTIONS}.items():
                setattr(module, known, thing)

    return ModuleSpec(name, Loader(), is_package=name == "IPython")
