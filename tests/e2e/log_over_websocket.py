"""Reads a pod's log over a WebSocket, as browsers do: log_over_websocket.py KUBECTL KUBECONFIG NAMESPACE POD CONTAINER

Prints the text of all messages. Exits with 1 when the server does not close in order.
"""
import base64
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

kubectl, kubeconfig, namespace, pod, container = sys.argv[1:]
config = json.loads(subprocess.check_output([kubectl, "--kubeconfig", kubeconfig, "config", "view", "--raw", "--minify", "-o", "json"]))
cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]


def kept(data):
    file = tempfile.NamedTemporaryFile()
    file.write(base64.b64decode(data))
    file.flush()
    return file


authority, certificate, key = map(kept, (cluster["certificate-authority-data"], user["client-certificate-data"], user["client-key-data"]))
context = ssl.create_default_context(cafile=authority.name)
context.load_cert_chain(certificate.name, key.name)
host, port = cluster["server"].removeprefix("https://").rsplit(":", 1)
stream = context.wrap_socket(socket.create_connection((host, int(port)), timeout=20), server_hostname=host)
stream.sendall(
    f"GET /api/v1/namespaces/{namespace}/pods/{pod}/log?container={container} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://localhost\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: binary.k8s.io\r\n\r\n".encode()
)
reader = stream.makefile("rb")
if not reader.readline().startswith(b"HTTP/1.1 101"):
    sys.exit("the upgrade was refused")
while reader.readline().strip():
    pass
while True:
    head = reader.read(2)
    if len(head) < 2:
        sys.exit("the connection broke")
    length = head[1] & 127
    if length == 126:
        length = struct.unpack(">H", reader.read(2))[0]
    payload = reader.read(length)
    if head[0] & 15 == 8:  # close, answered with the same code
        stream.sendall(b"\x88\x82\0\0\0\0" + payload[:2])
        sys.exit(0 if payload[:2] == b"\x03\xe8" else "closed with another code than 1000")
    sys.stdout.write(payload.decode())
