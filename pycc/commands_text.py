"""The words of the maintenance command line: its help and what --version lists."""

FEATURES = "diskcache zstd"

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
        --dry-run                say only what would be removed

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
