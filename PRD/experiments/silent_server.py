"""A server on port 3307 that accepts every connection and never says a word, as a frozen MySQL does."""

import socket

with socket.create_server(("127.0.0.1", 3307)) as listener:
    print("listening on port 3307, silent", flush=True)
    clients = []
    while True:
        clients.append(listener.accept())
