"""The daemon's address lists: which entries are taken, and whom they let in."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycc.errors import Fatal
from pycc.remote.access import PRIVATE, AccessError, allows, parse_mask
from tests.quick import quick


@pytest.mark.parametrize(
    ("mask", "client", "allowed"),
    [
        # The table of distcc's own suite.
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.0", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1/8", "127.0.0.2", True),
        ("10.113.0.0/16", "10.113.45.67", True),
        ("10.113.0.0/16", "10.11.45.67", False),
        ("10.113.0.0/16", "127.0.0.1", False),
        ("1.2.3.4/0", "4.3.2.1", True),
        ("1.2.3.4/8", "4.3.2.1", False),
        ("192.168.1.64/28", "192.168.1.70", True),
        ("192.168.1.64/28", "192.168.1.7", False),
        # Bits beyond the mask.
        ("10.1.2.3/8", "10.9.9.9", True),
        ("2001:db8::ffff/33", "2001:db8:7fff::1", True),
        ("2001:db8::ffff/33", "2001:db8:8000::1", False),
        # How long a mask may be.
        ("10.0.0.1/32", "10.0.0.1", True),
        ("10.0.0.1/32", "10.0.0.0", False),
        ("10.0.0.0/", "10.0.0.0", True),
        ("10.0.0.0/", "10.0.0.1", False),
        ("10.0.0.0/08", "10.1.1.1", True),
        ("::1", "::1", True),
        ("::1", "::2", False),
        ("::1/128", "::1", True),
        ("::/0", "2001:db8::1", True),
        ("2001:DB8::/32", "2001:db8:1::1", True),
        # Families, and one inside the other.
        ("0.0.0.0/0", "::1", False),
        ("::/0", "1.2.3.4", False),
        ("10.0.0.0/8", "::ffff:10.1.1.1", True),
        ("10.0.0.0/8", "::ffff:11.1.1.1", False),
        ("0.0.0.0/0", "::ffff:1.2.3.4", True),
        ("::/0", "::ffff:1.2.3.4", True),
        ("::ffff:10.0.0.0/104", "::ffff:10.1.1.1", True),
        ("::ffff:10.0.0.0/104", "10.1.1.1", False),
        ("10.0.0.0/8", "::10.1.1.1", False),
        # Scopes.
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::/10", "fec0::1%eth0", False),
        ("fe80::1%eth0/64", "fe80::2%eth1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("127.0.0.1", "::ffff:127.0.0.1%eth0", True),
        # What is no address.
        ("0.0.0.0/0", "", False),
        ("0.0.0.0/0", "localhost", False),
        ("0.0.0.0/0", "1.2.3", False),
        ("::/0", "/run/socket", False),
    ],
)
def test_a_mask_lets_in_or_not(mask: str, client: str, allowed: bool) -> None:
    assert allows([parse_mask(mask)], client) is allowed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.2.3.4/40", 'invalid mask "40" of 1.2.3.4: write the number of bits, from 0 to 32'),
        ("1.2.3.4/33", "from 0 to 32"),
        ("::1/129", "from 0 to 128"),
        ("10.0.0.0/-1", 'invalid mask "-1"'),
        ("10.0.0.0/255.0.0.0", 'invalid mask "255.0.0.0"'),
        ("10.0.0.0/x", 'invalid mask "x"'),
        ("10.0.0.0/8x", 'invalid mask "8x"'),
        ("10.0.0.0/+8", 'invalid mask "+8"'),
        ("10.0.0.0/8/9", 'invalid mask "8/9"'),
        ("10.0.0.0/ 8", 'invalid mask " 8"'),
        ("10.0.0.0/\u0668", "invalid mask"),
        ("10.0.0.0/" + "0" * 5000, "invalid mask"),
        ("1.2.3.4.5.6.7/8", 'can\'t parse internet address "1.2.3.4.5.6.7"'),
        ("10/8", 'can\'t parse internet address "10"'),
        ("10.1/16", "four decimal numbers"),
        ("010.0.0.1", "four decimal numbers"),
        ("0x0a.0.0.1", "four decimal numbers"),
        ("[::1]", "without brackets"),
        ("fe80::1%/64", "can't parse internet address"),
        ("10.0.0.1%eth0", "can't parse internet address"),
        ("localhost", "names are not looked up"),
        ("build.example/8", "names are not looked up"),
        ("", 'can\'t parse internet address ""'),
        ("/8", 'can\'t parse internet address ""'),
        (" 10.0.0.1", 'can\'t parse internet address " 10.0.0.1"'),
    ],
)
def test_wrong_entries_keep_the_daemon_from_starting(text: str, reason: str) -> None:
    with pytest.raises(AccessError) as error:
        parse_mask(text)
    assert reason in str(error.value)
    assert isinstance(error.value, Fatal)
    assert error.value.status == 101


@pytest.mark.parametrize(
    "client",
    """
    192.168.0.0 192.168.255.255 10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 127.0.0.1
    127.255.255.255 ::1 fe80::1%eth0 febf::1 fc00::1 fdff::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1
    """.split(),
)
def test_private_networks_are_let_in(client: str) -> None:
    assert allows(PRIVATE, client)


@pytest.mark.parametrize(
    "client",
    """
    192.167.255.255 192.169.0.0 9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 126.255.255.255
    128.0.0.0 169.254.0.1 100.64.0.1 0.0.0.0 8.8.8.8 :: ::2 fec0::1 fbff::1 fe7f::1 fe00::1
    2001:db8::1 ff02::1 ::ffff:8.8.8.8 ::10.0.0.1
    """.split(),
)
def test_the_world_is_not_let_in(client: str) -> None:
    assert not allows(PRIVATE, client)


def test_an_empty_list_lets_nobody_in() -> None:
    assert not allows([], "127.0.0.1")


def test_one_entry_of_several_is_enough() -> None:
    masks = [parse_mask("10.0.0.0/8"), parse_mask("::1"), parse_mask("192.168.1.7")]
    assert [allows(masks, a) for a in ("192.168.1.7", "::1", "192.168.1.8")] == [True, True, False]


@quick
@given(st.ip_addresses(), st.integers(0, 128))
def test_an_entry_is_written_as_the_network_that_it_is(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    bits = min(bits, address.max_prefixlen)
    mask = parse_mask(f"{address}/{bits}")
    assert parse_mask(str(mask)) == mask
    assert mask.prefixlen == bits
    assert allows([mask], str(address))
    assert allows([mask], str(mask.broadcast_address))


@quick
@given(st.text(st.sampled_from("0123456789abcdef.:/%x -"), max_size=24) | st.text(max_size=24))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    try:
        mask = parse_mask(text)
    except AccessError:
        return
    assert allows([mask], str(mask.network_address))
    allows([mask], text)
