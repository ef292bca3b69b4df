"""The least that an HTTPS server in Python can do: one thread a connection, a constant answer. argv: certificate, key, port."""

import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"text":"' + b"x" * 200 + b'"}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def serve(connection: socket.socket) -> None:
    with context.wrap_socket(connection, server_side=True) as secure:
        received = b""
        while data := secure.recv(65536):
            received += data
            while b"\r\n\r\n" in received:
                received = received.partition(b"\r\n\r\n")[2]
                secure.sendall(ANSWER)


listener = socket.create_server(("127.0.0.1", int(sys.argv[3])), backlog=256)
print("up", flush=True)
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
