"""Values as MIME bundles: the payloads of frames. `build.py` puts this into runner.pyc, to be loaded with the first value.

The values are the program's: their methods may raise anything, lie, and never end (the deadline ends them).
"""

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
}


def rich(value):
    """What IPython's `_repr_*_` methods say, as {mime: JSON text}. A method that fails says nothing."""
    found, kind = {}, type(value)
    if kind is type or not hasattr(kind, "__dict__"):
        return found
    try:
        if hasattr(kind, "_repr_mimebundle_"):
            bundle = value._repr_mimebundle_(include=None, exclude=None)
            if type(bundle) is tuple:
                bundle = bundle[0]
            for mime, data in dict(bundle).items():
                found[str(mime)] = encode(data)
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
        text = describe(value)
    if type(value) is str:
        entries["text/x-str"] = quote(value[:MAX_PAYLOAD])
    elif type(value) not in BUILT_IN:
        entries.update(rich(value))
    return fit("text/plain", text, entries)


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


def error_bundle(error, text):
    """The payload of an error frame."""
    try:
        message = str(error)
    except BaseException:
        message = "<exception str() failed>"
    return fit("traceback", text, {"name": quote(type(error).__name__), "message": quote(message[:65536])})
