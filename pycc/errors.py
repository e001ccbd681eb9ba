"""The exceptions that cross a room's border, sorted by what the caller can do about them."""


class PyccError(Exception):
    """Base of every error that pycc raises on purpose."""


class ConfigError(PyccError):
    """A configuration value or file is wrong; the text names the thing and is shown to the user."""


class Fatal(PyccError):
    """The user must be told, and the command ends with ``status`` (an exit code)."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
