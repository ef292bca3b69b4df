"""The least that an HTTPS server in Python can do: a constant answer, and one line pushed to everybody who watches.

argv: certificate, key, port. GET /: the answer. GET /watch: headers, then a line for every PUT. PUT: push, then the answer.
"""

import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"text":"' + b"x" * 200 + b'"}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b'{"type":"MODIFIED","object":' + BODY + b"}\n"
CHUNK = b"%x\r\n%s\r\n" % (len(LINE), LINE)
watchers: list[ssl.SSLSocket] = []


def serve(connection: socket.socket) -> None:
    with context.wrap_socket(connection, server_side=True) as secure:
        received = b""
        while data := secure.recv(65536):
            received += data
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                if head.startswith(b"GET /watch"):
                    secure.sendall(STREAM)
                    watchers.append(secure)
                    threading.Event().wait()
                if head.startswith(b"PUT"):
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    while len(received) < length:
                        received += secure.recv(65536)
                    received = received[length:]
                    for watcher in watchers:
                        watcher.sendall(CHUNK)
                secure.sendall(ANSWER)


listener = socket.create_server(("127.0.0.1", int(sys.argv[3])), backlog=256)
print("up", flush=True)
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
