"""Two workers with threads, because only those keep connections. They say UP and EXIT with their process ids."""

import os

workers = 2
worker_class = "gthread"
threads = 16
keepalive = 5
graceful_timeout = 2
bind = "127.0.0.1:" + os.environ["PORT"]
loglevel = "warning"
if os.environ["PROTOCOL"] == "https":
    certfile = os.environ["CERTIFICATE"]
    keyfile = os.environ["KEY"]


def say(word, worker):
    os.write(1, "{} {}\n".format(word, worker.pid).encode())


def post_worker_init(worker):
    say("UP", worker)


def worker_exit(server, worker):
    say("EXIT", worker)
