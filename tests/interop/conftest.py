"""The installed copy of pycc, and a world with a server of its own, as in the end-to-end tests."""

from tests.e2e.conftest import installed, private

__all__ = ["installed", "private"]
