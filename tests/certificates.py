"""Certificates for the tests, made by openssl."""

import shlex
import subprocess
from pathlib import Path


def make_certificate(folder: Path, names: str = "IP:127.0.0.1", file: str = "name") -> Path:
    """Make a certificate for these names that is its own authority. Its key is beside it, with `.key`."""
    words = shlex.split(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=test"
    )
    certificate = folder / f"{file}.crt"
    files = ["-addext", f"subjectAltName={names}", "-keyout", str(certificate.with_suffix(".key"))]
    subprocess.run([*words, *files, "-out", str(certificate)], check=True, capture_output=True)
    return certificate
