"""A service in Python that knows nothing of Micro but the address of its sidecar."""

import base64
import json
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIDECAR = sys.argv[1]


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SIDECAR + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from python, at {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Greeter)
threading.Thread(target=server.serve_forever, daemon=True).start()
node = {"id": "python-1", "address": "127.0.0.1", "port": server.server_port, "metadata": {"protocol": "http"}}
record = {"name": "python", "version": "1.0.0", "nodes": [node]}

ask("POST", "/registry", record)
print("registered")

[found] = json.loads(ask("GET", "/registry?service=python"))
assert (found["version"], found["nodes"]) == ("1.0.0", [node]), found
print("found")

assert ask("GET", "/python/hello") == "hello from python, at /python/hello"
print("reached")

answer = ask("POST", "/rpc", {"service": "echo", "method": "Echo.Unary", "request": {"text": "hi"}})
assert json.loads(answer) == {"text": "hi"}, answer
words = {"text": "hi", "number": "7"}
assert json.loads(ask("POST", "/echo/unary", words)) == words
print("called")

events = urllib.request.urlopen(SIDECAR + "/broker?topic=python.said", timeout=60)
ask("POST", "/broker?topic=python.said", {"said": "hello"})
for line in events:
    if line.startswith(b"data: "):
        event = json.loads(line[6:])
        break
assert json.loads(base64.b64decode(event["Body"])) == {"said": "hello"}, event
assert event["Header"]["Micro-Topic"] == "python.said", event
events.close()
print("published and heard")

ask("DELETE", "/registry", record)
try:
    ask("GET", "/registry?service=python")
    sys.exit("it is still registered")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
print("deregistered")
