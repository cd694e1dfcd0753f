"""A server of HTTPS for localhost that echoes the fields of each request, and writes them to a file, a line of JSON each.

    python3 secrets_server.py CERTIFICATE_AND_KEY FILE        prints its port

Standard library only. Its standard input ends with who started it, and then so does it.
"""

import http.server
import json
import ssl
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name.lower(): value for name, value in self.headers.items()}
        seen = {"method": self.command, "path": self.path, "fields": fields, "body": body.decode()}
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(json.dumps(seen) + "\n")
        said = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.handle_error = lambda *_: None
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
