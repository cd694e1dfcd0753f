"""A server of HTTP on one port and HTTPS on another, for every host: says what it was asked, or serves a directory."""

import http.server
import json
import ssl
import sys
import threading


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name.lower(): value for name, value in self.headers.items()}
        said = {"method": self.command, "path": self.path, "fields": fields, "body": len(body)}
        said = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_DELETE = answer

    def do_GET(self):
        if self.path.startswith("/echo"):
            return self.answer()
        if self.path.startswith("/silent"):
            threading.Event().wait()
        if self.path.startswith("/endless"):
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(65536))
        return super().do_GET()


def serve(context):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(*a, directory=sys.argv[2]))
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    if context:
        def get_request():
            accepted, address = server.socket.accept()
            return context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address
        server.get_request = get_request
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
print(serve(None), serve(context), flush=True)
sys.stdin.read()
