"""Settings for property tests that share a machine with compilers."""

from hypothesis import settings

quick = settings(max_examples=60, deadline=None)
