"""Bytes on the network: TLS listener, HTTP/1.1 and HTTP/2 server, HTTP client. Knows nothing of Kubernetes."""
