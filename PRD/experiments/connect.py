"""Connects to MySQL with PyMySQL: `connect.py PORT` sets connect_timeout, `connect.py PORT SECONDS` all timeouts.

Only the TCP connection and the greeting of the server matter here; the login is bound to fail.
"""

import sys
import time

import pymysql

port = int(sys.argv[1])
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else None
began = time.monotonic()
try:
    pymysql.connect(host="127.0.0.1", port=port, connect_timeout=1, read_timeout=seconds, write_timeout=seconds)
except pymysql.Error as error:
    print(f"gave up after {time.monotonic() - began:.1f} s: {error}")
