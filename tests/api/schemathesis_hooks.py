"""How schemathesis writes down the kinds of body that it does not know: a value of JSON in each line, and archives."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(ctx, value):
    values = value if isinstance(value, list) else [value]
    return "".join(json.dumps(each) + "\n" for each in values).encode()


@schemathesis.serializer("application/x-tar")
def archive(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
