"""The app under gunicorn: reads the request and answers with the id of its process."""

import os


def app(environ, start_response):
    environ["wsgi.input"].read()
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
