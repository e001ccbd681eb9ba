"""Settings for property tests whose examples take long."""

from hypothesis import settings

quick = settings(max_examples=60)
