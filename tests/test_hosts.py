"""The host list: every way to write a host, every wrong word, what is written again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.record import replace
from pycc.remote.hosts import (
    HostList,
    HostSpec,
    HostSpecError,
    Kind,
    Membership,
    host_texts,
    lock_name,
    parse_hosts,
    render,
)
from tests.quick import quick

LOCAL, TCP, SSH = Kind.LOCAL, Kind.TCP, Kind.SSH


def one(word: str) -> HostSpec:
    (spec,) = parse_hosts(word).hosts
    return spec


def test_the_list_of_distccs_own_suite() -> None:
    text = """localhost 127.0.0.1 @angry   ted@angry
        \t@angry:/home/mbp/bin/distccd  angry:4204
        ipv4-localhost
        angry/44
        angry:300/44
        angry/44:300
        angry,lzo
        angry:3000,lzo    # some comment
        angry/44,lzo
        @angry,lzo#asdasd
        # oh yeah nothing here
        @angry:/usr/sbin/distccd,lzo
        localhostbutnotreally
        """
    found = [
        (s.slots, s.kind, s.host, s.port, s.user, s.command, s.lzo) for s in parse_hosts(text).hosts
    ]
    assert found == [
        (2, LOCAL, "localhost", 3632, "", "", False),
        (4, TCP, "127.0.0.1", 3632, "", "", False),
        (4, SSH, "angry", 3632, "", "", False),
        (4, SSH, "angry", 3632, "ted", "", False),
        (4, SSH, "angry", 3632, "", "/home/mbp/bin/distccd", False),
        (4, TCP, "angry", 4204, "", "", False),
        (4, TCP, "ipv4-localhost", 3632, "", "", False),
        (44, TCP, "angry", 3632, "", "", False),
        (44, TCP, "angry", 300, "", "", False),
        (44, TCP, "angry", 300, "", "", False),
        (4, TCP, "angry", 3632, "", "", True),
        (4, TCP, "angry", 3000, "", "", True),
        (44, TCP, "angry", 3632, "", "", True),
        (4, SSH, "angry", 3632, "", "", True),
        (4, SSH, "angry", 3632, "", "/usr/sbin/distccd", True),
        (4, TCP, "localhostbutnotreally", 3632, "", "", False),
    ]


@pytest.mark.parametrize(
    ("word", "spec"),
    [
        ("localhost", HostSpec(LOCAL, "localhost", slots=2)),
        ("localhost/1", HostSpec(LOCAL, "localhost", slots=1)),
        ("localhost/8,lzo,down", HostSpec(LOCAL, "localhost", slots=8)),
        ("localhost:3632", HostSpec(TCP, "localhost")),
        ("localhost,lzo", HostSpec(TCP, "localhost", lzo=True)),
        ("LOCALHOST", HostSpec(TCP, "LOCALHOST")),
        ("[localhost]", HostSpec(TCP, "localhost")),
        ("localhost@red", HostSpec(SSH, "red", user="localhost")),
        ("@localhost", HostSpec(SSH, "localhost")),
        ("127.0.0.1", HostSpec(TCP, "127.0.0.1")),
        ("red/4:300/5", HostSpec(TCP, "red", 300, 5)),
        ("red/4/5", HostSpec(TCP, "red", slots=5)),
        ("red/010:0042", HostSpec(TCP, "red", 42, 10)),
        ("red:1/1", HostSpec(TCP, "red", 1, 1)),
        ("red:65535/2147483647", HostSpec(TCP, "red", 65535, 2147483647)),
        ("[::1]", HostSpec(TCP, "::1")),
        ("[::]:300", HostSpec(TCP, "::", 300)),
        ("[fe80::1%eth0]:300/7,lzo", HostSpec(TCP, "fe80::1%eth0", 300, 7, lzo=True)),
        ("[::1]/7:300", HostSpec(TCP, "::1", 300, 7)),
        ("[::1]=7", HostSpec(TCP, "::1", slots=7)),
        ("[::1]=7:300", HostSpec(TCP, "::1", 300, 7)),
        ("ted@red/3:bin/distccd", HostSpec(SSH, "red", slots=3, user="ted", command="bin/distccd")),
        ("@red:cmd/4:x@y", HostSpec(SSH, "red", command="cmd/4:x@y")),
        ("@red:,lzo", HostSpec(SSH, "red", lzo=True)),
        ("d\\ted@red", HostSpec(SSH, "red", user="d\\ted")),
        ("red,lzo,cpp", HostSpec(TCP, "red", lzo=True, cpp=True)),
        ("red,cpp,lzo", HostSpec(TCP, "red", lzo=True, cpp=True)),
        ("red,lzo,lzo", HostSpec(TCP, "red", lzo=True)),
        ("@red:cmd,lzo,cpp", HostSpec(SSH, "red", command="cmd", lzo=True, cpp=True)),
        ("red,auth", HostSpec(TCP, "red", auth=True)),
        ("red,auth=", HostSpec(TCP, "red", auth=True)),
        ("red,auth=a.b,lzo", HostSpec(TCP, "red", auth=True, auth_name="a.b", lzo=True)),
        ("red,auth=a,auth", HostSpec(TCP, "red", auth=True, auth_name="a")),
        ("red,auth=a,auth=", HostSpec(TCP, "red", auth=True)),
        ("red/9,down", HostSpec(TCP, "red", slots=9, down=True)),
        ("red,tls,lzo", HostSpec(TCP, "red", tls=True, lzo=True)),
        ("r\u00e9d", HostSpec(TCP, "r\u00e9d")),
    ],
)
def test_words_are_read(word: str, spec: HostSpec) -> None:
    assert one(word) == replace(spec, spelled=word)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\tb\nc\rd\fe\vf", ["a", "b", "c", "d", "e", "f"]),
        ("a # b\nc", ["a", "c"]),
        ("a # b\rc", ["a", "c"]),
        ("#a\n# b\n  c#d e\n", ["c"]),
        ("a:300#b", ["a:300"]),
        ("a#b\nc", ["a", "c"]),
        ("@a:cmd#b", ["@a:cmd"]),
        ("# é\0\nc", ["c"]),
    ],
)
def test_white_space_separates_and_comments_end_with_the_line(text: str, words: list[str]) -> None:
    assert [spec.spelled for spec in parse_hosts(text).hosts] == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", HostList()),
        ("--randomize", HostList(randomize=True)),
        ("--localslots=9", HostList(local_slots=9)),
        ("--localslots_cpp=3", HostList(local_cpp_slots=3)),
        ("--localslots/9 --localslots_cpp/3", HostList(local_slots=9, local_cpp_slots=3)),
        ("--localslots=9 --localslots=1", HostList(local_slots=1)),
        ("+zeroconf", HostList(zeroconf=True)),
        (
            "+redis://a:6379/0?x=1,2 +rediss://b",
            HostList(membership=(Membership("redis://a:6379/0?x=1,2"), Membership("rediss://b"))),
        ),
        ("+redis://a#b", HostList(membership=(Membership("redis://a"),))),
        (
            "+redis+unix:/s?db=1,lzo,auth=n,tls",
            HostList(membership=(Membership("redis+unix:/s?db=1", 0, ("lzo", "auth=n", "tls")),)),
        ),
    ],
)
def test_global_words_are_no_hosts(text: str, expected: HostList) -> None:
    assert parse_hosts(text) == expected
    red = (HostSpec(TCP, "red", spelled="red"),)
    assert parse_hosts(f"{text}\nred") == replace(expected, hosts=red)


@pytest.mark.parametrize("text", ["", "    ", "\t", "# red\n", "--randomize --localslots=3"])
def test_a_list_may_name_nobody(text: str) -> None:
    assert parse_hosts(text).names_nobody


@pytest.mark.parametrize("text", ["localhost", "+zeroconf", "+redis://a", "red,down"])
def test_a_list_names_somebody(text: str) -> None:
    assert not parse_hosts(text).names_nobody


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        # What distcc refuses.
        ("@", "the name is missing"),
        (":", "the name is missing"),
        ("mbp@", "the name is missing"),
        ("angry::", 'bad port ":"'),
        (":4200", "the name is missing"),
        ("/4", "the name is missing"),
        (",lzo", "the name is missing"),
        ("[]", "the address is missing"),
        ("[::1", "the bracket is not closed"),
        ("::1", "in brackets"),
        ("fe80::1/4", "in brackets"),
        ("red/0", 'bad number of jobs "0"'),
        ("red/00", 'bad number of jobs "00"'),
        ("red/", 'bad number of jobs ""'),
        ("red/x", 'bad number of jobs "x"'),
        ("red:300/0", 'bad number of jobs "0"'),
        ("@red/0", 'bad number of jobs "0"'),
        ("localhost/0", 'bad number of jobs "0"'),
        ("localhost/", 'bad number of jobs ""'),
        ("red:x", 'bad port "x"'),
        ("red:300=4", 'bad port "300=4"'),
        ("red,cpp", "pump mode (',cpp') requires compression (',lzo')"),
        ("@red,cpp", "pump mode (',cpp') requires compression (',lzo')"),
        ("red,", 'unrecognized option ""'),
        ("red,,lzo", 'unrecognized option ""'),
        ("red,LZO", 'unrecognized option "LZO"'),
        ("red,gzip", "there are lzo, cpp, auth, down, tls"),
        # What distcc takes for something else, or for a part of what was written.
        ("red/4x,lzo", 'bad number of jobs "4x"'),
        ("red/-3", 'bad number of jobs "-3"'),
        ("red/+4", 'bad number of jobs "+4"'),
        ("red/\u0664", "bad number of jobs"),
        ("red/2147483648", "from 1 to 2147483647"),
        ("red/" + "9" * 5000, "from 1 to 2147483647"),
        ("red/4=5", 'bad number of jobs "4=5"'),
        ("@red/4=5", 'bad number of jobs "4=5"'),
        ("red:", 'bad port ""'),
        ("red:0", 'bad port "0"'),
        ("red:-1", 'bad port "-1"'),
        ("red:65536", "write one from 1 to 65535"),
        ("red/4:300/5/6", "cannot follow the host"),
        ("[::1]x", '"x" cannot follow the host'),
        ("[::1", "write [ADDRESS]:PORT/N"),
        ("red=4", "the number of jobs is written HOST/N"),
        ("localhost=4", "the number of jobs is written HOST/N"),
        ("localhost/2:3632", "write 127.0.0.1"),
        ("localhost/2,gzip", 'unrecognized option "gzip"'),
        ("red,lzo/4", 'unrecognized option "lzo/4"'),
        ("red,lzo:300", 'unrecognized option "lzo:300"'),
        ("red,lzocpp", 'unrecognized option "lzocpp"'),
        ("red,lzo=1", 'unrecognized option "lzo=1"'),
        ("red,auth=me@realm", 'the name for auth "me@realm" cannot hold "@"'),
        ("red,auth=a:b", 'the name for auth "a:b" cannot hold ":"'),
        ("red:/a@b", 'the user "red:/a" cannot hold ":"'),
        ("u@d@red", 'the name "d@red" cannot hold "@"'),
        ("@[::1]", "~/.ssh/config"),
        ("@-oProxyCommand=id", 'no name begins with "-"'),
        ("-v@red", "begin with a minus"),
        ("[-v]", 'no address begins with "-"'),
        ("-l@a", "begin with a minus"),
        ("@a:-oProxyCommand=id", 'no command begins with "-"'),
        ("--unknown", "--localslots=N"),
        ("--randomizer", "--randomize"),
        ("--localslots", "--localslots=N"),
        ("--localslots=0", 'bad number of jobs "0"'),
        ("--localslots=9x", 'bad number of jobs "9x"'),
        ("--localslots_cpp=x", 'bad number of jobs "x"'),
        ("+zeroconfig", "+zeroconf"),
        ("+redis://", "+redis://HOST"),
        ("+http://a", "+redis://HOST"),
        ("red\0", "cannot be seen"),
        ("red\u00a0blue", "cannot be seen"),
        ("red\udcff", "cannot be seen"),
        # Of ours.
        ("@red,tls", "ssh encrypts by itself"),
    ],
)
def test_wrong_words_are_named_with_the_reason(word: str, reason: str) -> None:
    with pytest.raises(HostSpecError) as error:
        parse_hosts(f"red {word} blue")
    assert reason in str(error.value)
    assert error.value.word == word
    assert error.value.status == 106
    if word.isprintable():
        assert f'"{word}"' in str(error.value)


def test_what_cannot_be_seen_is_shown_as_escapes() -> None:
    with pytest.raises(HostSpecError, match=r'"red\\x1b\[2J\\udcff"'):
        parse_hosts("red\x1b[2J\udcff")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("localhost/2,lzo", "localhost"),
        ("localhost/4", "localhost/4"),
        ("localhost:3632/2", "localhost:3632/2"),
        ("localhost,lzo", "localhost:3632,lzo"),
        ("red:3632/4", "red"),
        ("red/44:300", "red:300/44"),
        ("[::1]=7:300", "[::1]:300/7"),
        ("[red]", "red"),
        ("ted@red/3:cmd,cpp,lzo", "ted@red/3:cmd,lzo,cpp"),
        ("red,tls,down,auth=a,lzo", "red,lzo,auth=a,down,tls"),
        ("red,auth=", "red,auth"),
    ],
)
def test_hosts_are_written_in_the_new_order(word: str, written: str) -> None:
    assert render(one(word)) == written


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("localhost/7", "localhost"),
        ("red/4,lzo", "tcp_red_3632"),
        ("192.168.0.4:300", "tcp_192.168.0.4_300"),
        ("[fe80::1%eth0]", "tcp_fe80::1%eth0_3632"),
        ("ted@red:/bin/distccd", "ssh_red"),
    ],
)
def test_lock_files_are_called_as_distcc_calls_them(word: str, name: str) -> None:
    assert lock_name(one(word)) == name


TEXT = st.characters(exclude_categories=["C", "Z"])


def letters(forbidden: str) -> st.SearchStrategy[str]:
    return st.text(TEXT.filter(lambda c: c not in forbidden), min_size=1, max_size=12)


def begins_as_a_name(text: str) -> bool:
    return text[0] not in "-+"


NAMES = letters("#/:,@=[]").filter(begins_as_a_name) | st.just("localhost")
ADDRESSES = NAMES | letters("#/,@=[]").filter(begins_as_a_name)
SLOTS = st.integers(1, 2**31 - 1) | st.just(4) | st.just(2)
FLAGS = st.booleans()


def finished(spec: HostSpec) -> HostSpec:
    """What no word can say is made what a word says."""
    return replace(spec, lzo=spec.lzo or spec.cpp, auth=spec.auth or bool(spec.auth_name))


SPECS = (
    st.builds(HostSpec, st.just(LOCAL), st.just("localhost"), slots=SLOTS)
    | st.builds(
        HostSpec,
        st.just(TCP),
        ADDRESSES,
        port=st.integers(1, 65535) | st.just(3632),
        slots=SLOTS,
        lzo=FLAGS,
        cpp=FLAGS,
        auth=FLAGS,
        auth_name=NAMES | st.just(""),
        tls=FLAGS,
        down=FLAGS,
    ).map(finished)
    | st.builds(
        HostSpec,
        st.just(SSH),
        NAMES,
        slots=SLOTS,
        user=NAMES | st.just(""),
        command=letters("#,").filter(lambda word: not word.startswith("-")) | st.just(""),
        lzo=FLAGS,
        cpp=FLAGS,
        auth=FLAGS,
        down=FLAGS,
    ).map(finished)
)


@quick
@given(SPECS)
def test_what_is_written_is_read_again(spec: HostSpec) -> None:
    word = render(spec)
    assert one(word) == replace(spec, spelled=word)


PARTS = """
    localhost red [::1] [ ] / : @ , = + - # 0 4 300 lzo cpp auth down tls cmd --localslots
    --localslots_cpp --randomize +zeroconf +redis://
""".split()
WORDS = st.lists(st.sampled_from([*PARTS, " ", "\n", "\0", "\u00a0", "\u00e9"]), max_size=12)


@quick
@given(WORDS.map("".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused_and_what_is_read_can_be_written(text: str) -> None:
    try:
        found = parse_hosts(text)
    except HostSpecError:
        return
    for spec in found.hosts:
        assert spec.spelled in text
        assert spec.slots > 0
        assert 0 < spec.port < 65536
        assert "/" not in lock_name(spec)
        word = render(spec)
        assert one(word) == replace(spec, spelled=word)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({b"DISTCC_HOSTS": b"red", b"DISTCC_DIR": b"/d"}, ("red", "$DISTCC_HOSTS")),
        ({b"DISTCC_HOSTS": b"", b"DISTCC_DIR": b"/d"}, ("", "$DISTCC_HOSTS")),
        ({b"DISTCC_HOSTS": b"\xff"}, ("\udcff", "$DISTCC_HOSTS")),
        ({b"DISTCC_DIR": b"/d", b"HOME": b"/h"}, ("of d", "/d/hosts")),
        ({b"HOME": b"/h"}, ("of h", "/h/.distcc/hosts")),
        ({b"HOME": b"/empty"}, ("", "/empty/.distcc/hosts")),
        ({b"DISTCC_DIR": b"/none", b"HOME": b"/h"}, ("of etc", "/etc/distcc/hosts")),
        ({b"HOME": b"/none"}, ("of etc", "/etc/distcc/hosts")),
        ({}, ("of etc", "/etc/distcc/hosts")),
    ],
)
def test_the_first_place_that_has_a_list_counts(
    environment: dict[bytes, bytes], expected: tuple[str, str]
) -> None:
    files = {
        b"/d/hosts": "of d",
        b"/h/.distcc/hosts": "of h",
        b"/empty/.distcc/hosts": "",
        b"/etc/distcc/hosts": "of etc",
    }
    assert host_texts(environment, files.get) == expected


def test_the_system_directory_may_be_another() -> None:
    read = {b"/usr/local/etc/distcc/hosts": "red"}.get
    found = ("red", "/usr/local/etc/distcc/hosts")
    assert host_texts({}, read, sysconf=b"/usr/local/etc") == found
    assert host_texts({}, read) is None
