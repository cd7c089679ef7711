"""A server on port 8002 that answers every connection as a web server would, not as MySQL does."""

import socket

with socket.create_server(("127.0.0.1", 8002)) as listener:
    print("listening on port 8002, not MySQL", flush=True)
    while True:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n")
