"""The words of the maintenance command line: its help and what --version lists."""

FEATURES = (
    "crsh-storage diskcache file-storage http-storage redis+unix-storage redis-storage"
    " remote-storage zstd"
)

HELP = """\
Usage:
    {name} [options]
    {name} COMPILER [compiler options]
    COMPILER [compiler options]     (COMPILER is a link to pycc that stands first on PATH)

Set-up:
        --install-links [DIR]    make a link for every compiler on this machine in DIR
                                 (default: /usr/lib/pycc/bin); put DIR first on PATH

Statistics:
    -s, --show-stats             show what became of the calls (-v: more, -vv: everything)
        --print-stats            the same for programs (--format tab or json)
    -z, --zero-stats             start counting anew
        --show-log-stats         statistics of the stats_log file
        --print-log-stats        the same for programs

        --monitor [SECONDS]      the whole farm as it works: hosts, jobs, hits; q ends it

Cache:
    -M, --max-size SIZE          limit the size (0: none); suffixes k M G T, Ki Mi Gi Ti
    -F, --max-files N            limit the number of entries (0: none)
    -c, --cleanup                remove what is over the limits, and what was left over
    -C, --clear                  remove all entries
        --evict-older-than AGE   remove what was not used for AGE (d, h, m, s, ms)
        --evict-namespace NAME   remove what was stored under this namespace
    -x, --show-compression       how well the entries are compressed
    -X, --recompress LEVEL       compress all results at LEVEL, or "uncompressed"
        --dry-run                say only what would be removed

Entries:
        --print-entries          name, kind, bytes, time of the last use (seconds since 1970) and
                                 namespace of every entry (--format tab or json)
        --inspect NAME           what an entry holds; NAME may be cut, or the path of a file
        --extract-result NAME    write what a result holds to ccache-result.* here

Directories of remote storage:
        --trim-dir DIR           remove the files not used longest until --trim-max-size is kept
        --trim-max-size SIZE     for --trim-dir (0: none)
        --trim-method METHOD     what tells the last use: atime (default) or mtime
        --trim-recompress LEVEL  compress before that at LEVEL, or "uncompressed"

Scripts:
        --checksum-file FILE     its 128 bit XXH3 (-: standard input)
        --hash-file FILE         its 160 bit BLAKE3 (-: standard input)

Configuration:
    -p, --show-config            every setting, its value, and where that came from
    -k, --get-config KEY         one value
    -o, --set-config KEY=VALUE   change the configuration file
    -d, --dir DIR                work with this cache directory
        --config-path FILE       work with this configuration file

Server:
        --server-status          what the resident server is doing
        --stop-server            let it finish and leave; the next compile starts another

    -v, --verbose                say more
    -V, --version                show the version
    -h, --help                   show this text
"""
