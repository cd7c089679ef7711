"""A server on port 3308 that sends one byte of MySQL's greeting every half second: never silent, never done."""

import socket
import time

with socket.create_server(("127.0.0.1", 3308)) as listener:
    print("listening on port 3308, dripping", flush=True)
    while True:
        client, _ = listener.accept()
        try:
            for byte in b"\x4a\0\0\0\x0a9.7.4" + b"x" * 1000:
                client.sendall(bytes([byte]))
                time.sleep(0.5)
        except OSError:
            client.close()
