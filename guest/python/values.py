"""Values as MIME bundles: the payloads of frames. `build.py` puts this into runner.pyc, to be loaded with the first value.

The values are the program's: their methods may raise anything, lie, and never end (the deadline ends them).
"""

import sys

MAX_PAYLOAD = 8 << 20
MAX_DEPTH, MAX_NODES = 64, 1_000_000


class TooMuch(Exception):
    """The value has no JSON form, or one larger than a frame."""


ESCAPES = {code: "\\u%04x" % code for code in range(32)}
ESCAPES.update({8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"})


def quote(text):
    """The JSON string of `text`; a lone surrogate becomes U+FFFD, since the parent's parser refuses it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return '"' + text.translate(ESCAPES) + '"'


def to_json(value):
    """The JSON text of a value made of exact built-in types. Raises `TooMuch` for anything else, too deep or too large."""
    parts, budget = [], [MAX_NODES, MAX_PAYLOAD]

    def walk(item, depth):
        budget[0] -= 1
        kind = type(item)
        if depth > MAX_DEPTH or budget[0] < 0 or budget[1] < 0:
            raise TooMuch
        if item is None or kind is bool:
            text = "null" if item is None else "true" if item else "false"
        elif kind is int and -(2**63) <= item < 2**64 or kind is float and item - item == 0:
            text = repr(item)
        elif kind is str and len(item) <= budget[1]:
            text = quote(item)
        elif kind is list or kind is tuple:
            parts.append("[")
            for index, element in enumerate(item):
                if index:
                    parts.append(",")
                walk(element, depth + 1)
            text = "]"
        elif kind is dict:
            parts.append("{")
            for index, (key, element) in enumerate(item.items()):
                if type(key) is not str:
                    raise TooMuch
                parts.append((',"' if index else '"') + quote(key)[1:] + ":")
                walk(element, depth + 1)
            text = "}"
        else:
            raise TooMuch
        budget[1] -= len(text)
        parts.append(text)

    walk(value, 0)
    return "".join(parts)


def describe(value):
    """`repr`, or what became of it."""
    try:
        return repr(value)
    except BaseException as error:
        name = type(error).__name__
        try:
            return "<unprintable %s object (%s: %s)>" % (type(value).__name__, name, str(error)[:1000])
        except BaseException:
            return "<unprintable object (%s)>" % name


REPRESENTATIONS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_pdf_": "application/pdf",
}
# Packages whose values have forms that they do not tell themselves: see notebook.py.
FOREIGN = frozenset(("matplotlib", "plotly", "altair"))
FRAMES_MAX, SOURCE_MAX = 50, 1000


def rich(value):
    """What IPython's `_repr_*_` methods say, as {mime: JSON text}. A method that fails says nothing."""
    found, kind = {}, type(value)
    if issubclass(kind, type) or not hasattr(kind, "__dict__"):
        return found
    try:
        if hasattr(kind, "_repr_mimebundle_"):
            bundle = value._repr_mimebundle_(include=None, exclude=None)
            found = encoded(bundle[0] if type(bundle) is tuple else bundle)
    except BaseException:
        pass
    try:
        if not FOREIGN.isdisjoint(str(base.__module__).partition(".")[0] for base in kind.__mro__):
            found.update(notebook()["foreign"](value))
    except BaseException:
        pass
    for method, mime in REPRESENTATIONS.items():
        try:
            if mime not in found and hasattr(kind, method):
                data = getattr(value, method)()
                if type(data) is tuple:
                    data = data[0]
                if data is not None:
                    found[mime] = encode(data)
        except BaseException:
            pass
    return found


def encoded(bundle):
    """A MIME bundle with each of its data as JSON text, but `text/plain` as it is."""
    return {str(mime): str(data) if mime == "text/plain" else encode(data) for mime, data in dict(bundle).items()}


def encode(data):
    """JSON text of the data of one MIME type: bytes as base64."""
    if type(data) is bytes:
        import binascii

        return '"' + binascii.b2a_base64(data, newline=False).decode() + '"'
    return quote(str(data)) if isinstance(data, str) else to_json(data)


BUILT_IN = frozenset((bool, int, float, str, list, tuple, dict, bytes, set, frozenset, complex, range, type, type(len), type(quote)))


def bundle(value):
    """The payload of a result or display frame: always `text/plain`; whatever does not fit is left out, the text cut."""
    entries = {}
    if type(value) is str and len(value) > MAX_PAYLOAD:
        text = repr(value[:MAX_PAYLOAD])
    else:
        try:
            entries["application/json"] = to_json(value)
        except (TooMuch, RuntimeError):
            pass
        text = None
    if type(value) is str:
        entries["text/x-str"] = quote(value[:MAX_PAYLOAD])
    elif type(value) not in BUILT_IN:
        entries.update(rich(value))
        text = entries.pop("text/plain", None)
    return fit("text/plain", describe(value) if text is None else text, entries)


def fit(name, text, entries):
    """A JSON object of `entries` (already JSON) and `name: text`, within one frame: entries go first, then the text is cut."""
    for mime in list(entries):
        if mime == name or len(entries[mime]) * 4 > MAX_PAYLOAD and len(entries[mime].encode()) > MAX_PAYLOAD // 3:
            del entries[mime]
    rest = "".join(",%s:%s" % (quote(mime), data) for mime, data in entries.items()).encode()
    room = MAX_PAYLOAD - len(rest) - 64
    if room < MAX_PAYLOAD // 4:
        rest, room = b"", MAX_PAYLOAD - 64
    data = quote(text).encode()
    if len(data) > room:
        # A character is at most six bytes of JSON.
        data = quote(text[: room // 6] + "...").encode()
    return b'{"' + name.encode() + b'":' + data + rest + b"}"


def error_bundle(error, text, trace=None, read=None):
    """The payload of an error frame; `read` returns the bytes of a file."""
    try:
        message = str(error)
    except BaseException:
        message = "<exception str() failed>"
    entries = {"name": quote(type(error).__name__), "message": quote(message[:65536])}
    try:
        entries["frames"] = to_json(frames(error, trace, Lines(read)))
    except BaseException:
        pass  # The error's own attributes may be anything.
    return fit("traceback", text, entries)


class Lines(dict):
    """Lines of source files by name: what `linecache` has been given, else what is on disk."""

    def __init__(self, read):
        self.read = read

    def __missing__(self, name):
        cache = getattr(sys.modules.get("linecache"), "cache", {})
        try:
            lines = cache[name][2] if len(cache.get(name, ())) == 4 else self.read(name).decode("utf-8", "replace").splitlines()
        except Exception:
            lines = ()
        self[name] = lines
        return lines


def frames(error, trace, lines):
    """Where an error came from, outermost first; of many frames the first and the last. Lines and columns count from one."""
    places, found = [], []
    while trace is not None and len(places) < 100_000:
        places.append(trace)
        trace = trace.tb_next
    if len(places) > FRAMES_MAX:
        places[10 : len(places) - FRAMES_MAX + 10] = []
    for place in places:
        code = place.tb_frame.f_code
        line, column = position(code, place.tb_lasti) if hasattr(code, "co_positions") else (None, None)
        found.append(frame(code.co_filename, line or place.tb_lineno, column, code.co_name, lines))
    if isinstance(error, SyntaxError) and type(error.filename) is str and type(error.lineno) is int:
        column = error.offset if type(error.offset) is int and error.offset > 0 else None
        found.append(frame(error.filename, error.lineno, column and column - 1, None, lines, False))
    return found


def position(code, offset):
    """Line, and column in bytes from zero, of an instruction."""
    for index, (line, _, column, _) in enumerate(code.co_positions()):
        if index == offset // 2:
            return line, column
    return None, None


def frame(file, line, column, function, lines, is_bytes=True):
    """One entry of `frames`."""
    text = lines[file][line - 1] if 0 < line <= len(lines[file]) else None
    entry = {"file": file, "line": line}
    if column is not None and (text is not None or not is_bytes):
        entry["column"] = (len(text.encode()[:column].decode("utf-8", "replace")) if is_bytes else column) + 1
    if function is not None:
        entry["function"] = function
    if text is not None and text.strip():
        entry["source"] = text.strip()[:SOURCE_MAX]
    return entry
