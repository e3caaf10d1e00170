"""moto's server, ``python atomic_moto.py PORT``. moto checks a condition and writes in two steps; S3 does not: conditional writes go one by
one here.
"""

import io
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

moto = DomainDispatcherApplication(create_backend_app)
writing = threading.Lock()


def application(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("PUT", "POST") or not environ.keys() & {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}:
        return moto(environ, start_response)
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with writing:
        return [b"".join(moto(environ, start_response))]


run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
