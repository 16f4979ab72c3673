"""``make test-systemd``: ordermq on a clean Debian with a real systemd as process 1."""
