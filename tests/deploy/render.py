"""Has Helm install the chart into an API server that keeps what it is sent; prints that as JSON, or what Helm says against it.

    render.py LIBRARY CHART [VALUES.json]

Helm is the real one: its Go packages, as PyPI's `helm-sdkpy` brings them in a library. That has no `template`, so it installs. The API server
is this file: it knows the kinds that the chart makes, and takes whatever is posted.
"""

import ctypes
import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Group and version, plural, kind.
KINDS = [
    ("v1", "secrets", "Secret"),
    ("v1", "services", "Service"),
    ("apps/v1", "statefulsets", "StatefulSet"),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    ("monitoring.coreos.com/v1", "servicemonitors", "ServiceMonitor"),
    ("keda.sh/v1alpha1", "scaledobjects", "ScaledObject"),
]
SENT = []
FAILED = []
WAITS = threading.Event()


def discovery(path):
    """What an API server says of itself (Kubernetes API concepts, discovery)."""
    groups = sorted({version for version, _, _ in KINDS if "/" in version})
    if path == "/version":
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        versions = [{"groupVersion": version, "version": version.split("/")[1]} for version in groups]
        named = [{"name": one["groupVersion"].split("/")[0], "versions": [one], "preferredVersion": one} for one in versions]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    of = [(plural, kind) for known, plural, kind in KINDS if known == version]
    if of:
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        resources = [{"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs} for plural, kind in of]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    return None


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def taken(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if "protobuf" in self.headers.get("content-type", ""):
            # Helm's own record of the release, which is nobody's here.
            value = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "release"}}
        else:
            value = json.loads(body)
            SENT.append(value)
        self.answer(201 if self.command == "POST" else 200, value)

    def do_GET(self):
        if "watch=" in self.path:
            # All is sent, and Helm waits for it to become ready, which it will not.
            WAITS.set()
        path = self.path.split("?")[0].rstrip("/")
        known = discovery(path)
        plurals = {plural for _, plural, _ in KINDS}
        if known is not None:
            self.answer(200, known)
        elif path.split("/")[-1] in plurals:
            self.answer(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        else:
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self.answer(404, {**missing, "message": f"{path} not found"})

    do_POST = taken
    do_PUT = taken
    do_PATCH = taken


def main(library, chart, values=None):
    values = json.load(open(values)) if values else {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    cluster, user = {"name": "c", "cluster": {"server": url}}, {"name": "u", "user": {}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}
    helm = ctypes.CDLL(library)
    helm.helm_sdkpy_last_error.restype = ctypes.c_char_p
    said = lambda: (helm.helm_sdkpy_last_error() or b"").decode()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        handle, result = ctypes.c_ulonglong(), ctypes.c_char_p()
        text = lambda value: ctypes.c_char_p(value.encode())
        made = helm.helm_sdkpy_config_create(text("default"), text(file.name), text("x"), text("{}"), ctypes.byref(handle))
        if made != 0:
            return print(json.dumps({"error": said()}))
        helm.helm_sdkpy_install.argtypes = [ctypes.c_ulonglong] + [ctypes.c_char_p] * 5 + [ctypes.c_void_p]

        def install():
            arguments = [b"release", chart.encode(), json.dumps(values).encode(), b"", b"{}"]
            if helm.helm_sdkpy_install(handle, *arguments, ctypes.byref(result)) != 0:
                FAILED.append(said())
            WAITS.set()

        threading.Thread(target=install, daemon=True).start()
        WAITS.wait()
    print(json.dumps({"error": FAILED[0]} if FAILED else {"objects": SENT}), flush=True)
    # What waits in the library ends with the process.
    os._exit(0)


main(*sys.argv[1:])
