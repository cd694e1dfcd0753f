"""A collector for a test: takes OTLP/HTTP, reads it with the official package, prints each request as one line of JSON.

    python otlp_receiver.py REFUSALS [CERTIFICATE_AND_KEY]     # answers the first so many with 503; by TLS

The first line is its port.
"""

import base64
import gzip
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

refusals = int(sys.argv[1])


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        global refusals
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        refused = refusals > 0
        refusals -= refused
        said = {
            "path": self.path,
            "type": self.headers["content-type"],
            "authorization": self.headers["authorization"],
            "refused": refused,
            "spans": [span_of(span) for one in request.resource_spans for scope in one.scope_spans for span in scope.spans],
            "resource": MessageToDict(request.resource_spans[0].resource),
        }
        print(json.dumps(said), flush=True)
        answer = b"" if refused else ExportTraceServiceResponse().SerializeToString()
        self.send_response(503 if refused else 200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def span_of(span):
    attributes = {}
    for pair in span.attributes:
        value = MessageToDict(pair.value)
        attributes[pair.key] = next(iter(value.values()), None)
    return {
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "status": span.status.code,
        "message": span.status.message,
        "attributes": attributes,
        "events": [event.name for event in span.events],
    }


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None
print(server.server_port, flush=True)
server.serve_forever()
