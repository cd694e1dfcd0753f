"""A guest that says what it was told, and misbehaves on request. Its port is its argument; it says `on` when it listens."""
import base64
import hashlib
import http.server
import json
import socket
import sys
import time

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Guest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def raw(self, content):
        self.close_connection = True
        self.wfile.write(content)

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode()
        said = {"method": self.command, "path": self.path, "headers": self.headers.items(), "body": body}
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def do_GET(self):
        if self.path == "/ws":
            self.web_socket()
        elif self.path == "/cookies":
            self.raw(
                b"HTTP/1.1 200 OK\r\nset-cookie: own=1; Path=/\r\nset-cookie: wide=1; Domain=localhost\r\n"
                b"set-cookie: fireclay-port=stolen; Path=/\r\nx-accel-redirect: /etc/passwd\r\n"
                b'clear-site-data: "*"\r\ncontent-length: 2\r\n\r\nok'
            )
        elif self.path == "/two":
            self.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\noneHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo")
        elif self.path == "/lengths":
            self.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n")
        elif self.path == "/huge":
            self.raw(b"HTTP/1.1 200 OK\r\nx: " + b"a" * (1 << 20) + b"\r\ncontent-length: 2\r\n\r\nok")
        elif self.path == "/many":
            self.raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"content-length: 2\r\n\r\nok")
        elif self.path == "/endless":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                self.wfile.write(b"x: y\r\n" * 1000)
        elif self.path == "/garbage":
            self.raw(b"\x00\xff nothing of the kind\r\n\r\n")
        elif self.path == "/unasked":
            self.raw(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        elif self.path == "/short":
            self.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
        elif self.path == "/gone":
            self.raw(b"")
        elif self.path == "/silent":
            open("asked", "w").close()
            time.sleep(3600)
        elif self.path == "/long":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegun")
            time.sleep(3600)
        else:
            self.answer()

    def web_socket(self):
        key = hashlib.sha1(self.headers["sec-websocket-key"].encode() + MAGIC).digest()
        self.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: "
            + base64.b64encode(key)
            + b"\r\n\r\n"
        )
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            length = head[1] & 127
            if length == 126:
                length = int.from_bytes(self.rfile.read(2), "big")
            mask = self.rfile.read(4)
            content = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
            self.wfile.write(head[:1] + size + content)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


class Server6(Server):
    address_family = socket.AF_INET6


if __name__ == "__main__":
    six = sys.argv[2:] == ["6"]
    server = (Server6 if six else Server)(("::1" if six else "127.0.0.1", int(sys.argv[1])), Guest)
    print("on", flush=True)
    server.serve_forever()
