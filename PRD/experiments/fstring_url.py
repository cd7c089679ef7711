"""What an f-string makes of a password, and what `URL.create` makes of it."""

from sqlalchemy import URL, make_url

for password in ("secret", "p@ss", "100%25"):
    url = make_url(f"mysql+pymysql://app:{password}@mysql:3306/app")
    safe = URL.create("mysql+pymysql", "app", password, "mysql", 3306, "app")
    print(f"the password is {password}")
    print(f"  f-string:   host {url.host}, password {url.password}, in a log {url}")
    print(f"  URL.create: host {safe.host}, password {safe.password}, in a log {safe}")
