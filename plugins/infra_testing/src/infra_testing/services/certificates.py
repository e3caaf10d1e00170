"""Certificates for servers of tests that speak TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra_testing.services.programs import find_program


def make_certificates(folder: Path) -> None:
    """Write ca.crt and ca.key, an authority of its own, and server.crt and server.key, which it signed for localhost. They hold two days.

    Raises:
        MissingServiceError: openssl is not installed.
    """
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    # Python 3.13 and later refuse an authority that does not say what its key is for.
    authority = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]
    for name, further in (("ca", authority), ("server", signed)):
        command = [find_program("openssl"), *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt", *further]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
