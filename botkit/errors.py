"""Every error botkit raises on purpose.

A message says what was wrong, where, and what to do next; the command line prints it without a
traceback. Anything that is not a `BotkitError` is a bug in botkit.
"""

from __future__ import annotations


class BotkitError(Exception):
    """Base of all errors a user can cause or mend."""


class ConfigError(BotkitError):
    """The configuration file has an unknown key, a wrong value or a missing secret."""


class ModelError(BotkitError):
    """A model cannot be found, loaded or run."""


class MissingExtraError(BotkitError):
    """An optional package is needed; the message carries the line that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional package. Install it with: pip install 'botkit[{extra}]'")
        self.purpose = purpose
        self.extra = extra


class DocumentError(BotkitError):
    """A file cannot be read as a document (encrypted, empty, binary, too large, broken)."""


class LibraryError(BotkitError):
    """The knowledge library or one of its indexes cannot be used."""


class LibraryBusyError(LibraryError):
    """Another process is writing to the knowledge library."""


class ConversationError(BotkitError):
    """The conversation store cannot be read or written."""


class GeneratorError(ModelError):
    """The generator, or the endpoint that stands in for it, failed."""


class AdapterError(BotkitError):
    """A front end cannot be found, configured or started."""


class DataError(BotkitError):
    """A training or evaluation file is not in the expected form; the message names file and line."""


class DivergedError(DataError):
    """A training run whose loss became no number; other hyperparameters may do better."""
