"""A compiler wrapper and compile farm: one cache and one dispatcher before every compile."""

__version__ = "0.1.0"
