"""The enumerated answers to "what became of this call?": the counters that ``--print-stats`` shows.

The names are ccache's (``ccache --print-stats``, one line each, alphabetical), so that dashboards
and CI scripts written for ccache keep working. Every path through the program ends in one of them.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """One counter; ``.value`` is its name in ``--print-stats`` and in the statistics log."""

    AUTOCONF_TEST = "autoconf_test"
    BAD_COMPILER_ARGUMENTS = "bad_compiler_arguments"
    BAD_INPUT_FILE = "bad_input_file"
    BAD_OUTPUT_FILE = "bad_output_file"
    CACHE_MISS = "cache_miss"
    CACHE_SIZE_KIBIBYTE = "cache_size_kibibyte"
    CALLED_FOR_LINK = "called_for_link"
    CALLED_FOR_PREPROCESSING = "called_for_preprocessing"
    CLEANUPS_PERFORMED = "cleanups_performed"
    COMPILE_FAILED = "compile_failed"
    COMPILER_CHECK_FAILED = "compiler_check_failed"
    COMPILER_PRODUCED_EMPTY_OUTPUT = "compiler_produced_empty_output"
    COMPILER_PRODUCED_NO_OUTPUT = "compiler_produced_no_output"
    COMPILER_PRODUCED_STDOUT = "compiler_produced_stdout"
    COULD_NOT_FIND_COMPILER = "could_not_find_compiler"
    COULD_NOT_USE_MODULES = "could_not_use_modules"
    COULD_NOT_USE_PRECOMPILED_HEADER = "could_not_use_precompiled_header"
    DIRECT_CACHE_HIT = "direct_cache_hit"
    DIRECT_CACHE_MISS = "direct_cache_miss"
    DISABLED = "disabled"
    ERROR_HASHING_EXTRA_FILE = "error_hashing_extra_file"
    FILES_IN_CACHE = "files_in_cache"
    INTERNAL_ERROR = "internal_error"
    LOCAL_STORAGE_HIT = "local_storage_hit"
    LOCAL_STORAGE_MISS = "local_storage_miss"
    LOCAL_STORAGE_READ_HIT = "local_storage_read_hit"
    LOCAL_STORAGE_READ_MISS = "local_storage_read_miss"
    LOCAL_STORAGE_WRITE = "local_storage_write"
    MAX_CACHE_SIZE_KIBIBYTE = "max_cache_size_kibibyte"
    MAX_FILES_IN_CACHE = "max_files_in_cache"
    MISSING_CACHE_FILE = "missing_cache_file"
    MODIFIED_INPUT_FILE = "modified_input_file"
    MULTIPLE_SOURCE_FILES = "multiple_source_files"
    NO_INPUT_FILE = "no_input_file"
    OUTPUT_TO_STDOUT = "output_to_stdout"
    PREPROCESSED_CACHE_HIT = "preprocessed_cache_hit"
    PREPROCESSED_CACHE_MISS = "preprocessed_cache_miss"
    PREPROCESSOR_ERROR = "preprocessor_error"
    RECACHE = "recache"
    REMOTE_STORAGE_ERROR = "remote_storage_error"
    REMOTE_STORAGE_HIT = "remote_storage_hit"
    REMOTE_STORAGE_MISS = "remote_storage_miss"
    REMOTE_STORAGE_READ_HIT = "remote_storage_read_hit"
    REMOTE_STORAGE_READ_MISS = "remote_storage_read_miss"
    REMOTE_STORAGE_TIMEOUT = "remote_storage_timeout"
    REMOTE_STORAGE_WRITE = "remote_storage_write"
    STATS_UPDATED_TIMESTAMP = "stats_updated_timestamp"
    STATS_ZEROED_TIMESTAMP = "stats_zeroed_timestamp"
    UNSUPPORTED_CODE_DIRECTIVE = "unsupported_code_directive"
    UNSUPPORTED_COMPILER_OPTION = "unsupported_compiler_option"
    UNSUPPORTED_ENVIRONMENT_VARIABLE = "unsupported_environment_variable"
    UNSUPPORTED_SOURCE_ENCODING = "unsupported_source_encoding"
    UNSUPPORTED_SOURCE_LANGUAGE = "unsupported_source_language"


SYNTHETIC = frozenset(
    {
        Outcome.MAX_CACHE_SIZE_KIBIBYTE,
        Outcome.MAX_FILES_IN_CACHE,
        Outcome.STATS_UPDATED_TIMESTAMP,
    }
)
"""Shown by ``--print-stats`` but derived from configuration or from the store, never counted."""

KEPT_BY_ZERO_STATS = frozenset({Outcome.CACHE_SIZE_KIBIBYTE, Outcome.FILES_IN_CACHE})
"""Describe what the cache holds, so ``--zero-stats`` leaves them alone."""

ERRORS = frozenset(
    {
        Outcome.BAD_INPUT_FILE,
        Outcome.BAD_OUTPUT_FILE,
        Outcome.COMPILER_CHECK_FAILED,
        Outcome.COULD_NOT_FIND_COMPILER,
        Outcome.ERROR_HASHING_EXTRA_FILE,
        Outcome.INTERNAL_ERROR,
        Outcome.MISSING_CACHE_FILE,
        Outcome.MODIFIED_INPUT_FILE,
    }
)
"""Calls that something outside the command line kept from the cache ("Errors" in ``-sv``)."""

UNCACHEABLE = frozenset(
    {
        Outcome.AUTOCONF_TEST,
        Outcome.BAD_COMPILER_ARGUMENTS,
        Outcome.CALLED_FOR_LINK,
        Outcome.CALLED_FOR_PREPROCESSING,
        Outcome.COMPILE_FAILED,
        Outcome.COMPILER_PRODUCED_EMPTY_OUTPUT,
        Outcome.COMPILER_PRODUCED_NO_OUTPUT,
        Outcome.COMPILER_PRODUCED_STDOUT,
        Outcome.COULD_NOT_USE_MODULES,
        Outcome.COULD_NOT_USE_PRECOMPILED_HEADER,
        Outcome.DISABLED,
        Outcome.MULTIPLE_SOURCE_FILES,
        Outcome.NO_INPUT_FILE,
        Outcome.OUTPUT_TO_STDOUT,
        Outcome.PREPROCESSOR_ERROR,
        Outcome.RECACHE,
        Outcome.UNSUPPORTED_CODE_DIRECTIVE,
        Outcome.UNSUPPORTED_COMPILER_OPTION,
        Outcome.UNSUPPORTED_ENVIRONMENT_VARIABLE,
        Outcome.UNSUPPORTED_SOURCE_ENCODING,
        Outcome.UNSUPPORTED_SOURCE_LANGUAGE,
    }
)
"""Calls whose own nature kept them from the cache ("Uncacheable" in ``-sv``)."""
