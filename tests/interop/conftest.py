"""The installed copy of pycc, and a world with a server of its own, as in the end-to-end tests."""

from tests.e2e.conftest import as_root, installed, private

__all__ = ["as_root", "installed", "private"]
