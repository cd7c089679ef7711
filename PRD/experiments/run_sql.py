"""Runs a statement as the service's user, and prints the rows that it finds: python run_sql.py STATEMENT"""

import sys

from pymysql import Connection

from settings import read_settings

s = read_settings()
connection = Connection(
    host=s.mysql_host,
    port=s.mysql_port,
    database=s.mysql_database,
    user=s.mysql_user,
    password=s.password,
    autocommit=True,
)
with connection, connection.cursor() as cursor:
    cursor.execute(sys.argv[1])
    for row in cursor.fetchall():
        print(*row, sep="  ")
