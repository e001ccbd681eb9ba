"""Authorities, and certificates that they sign."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(*words: str | Path) -> None:
    command = ["openssl", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Authority:
    """Its own certificate is ``ca``."""

    def __init__(self, place: Path, name: str) -> None:
        self._place, self._name = place, name
        self._key = place / f"{name}-ca.key"
        self.ca = place / f"{name}-ca.pem"
        extensions = ["-addext", "keyUsage=critical,keyCertSign"]
        subject = ["-subj", f"/CN={name} authority"]
        words = ["req", "-x509", *_KEY, "-days", "30", *subject, *extensions]
        _openssl(*words, "-keyout", self._key, "-out", self.ca)

    def sign(
        self, name: str, *, alternative: str = "", days: int = 30, passphrase: str = ""
    ) -> tuple[Path, Path]:
        """(certificate, key) of ``name``; ``alternative`` are the subject's other names."""
        stem = self._place / f"{self._name}-{name}"
        certificate, key, request = (stem.with_suffix(f".{end}") for end in ("pem", "key", "csr"))
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        words = ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-days", days]
        _openssl(*map(str, words), "-extfile", extensions, "-out", certificate)
        if passphrase:
            _openssl("ec", "-in", key, "-aes256", "-passout", f"pass:{passphrase}", "-out", key)
        return certificate, key
