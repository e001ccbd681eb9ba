"""The daemon's address lists: where a client may come from.

An entry is an address, or a network as ADDRESS/BITS, for IPv4 or IPv6 (--allow of distccd; its
src/access.c). Bits of the address beyond the mask count for nothing: 10.1.2.3/8 is all of 10.
An address alone, or with a slash and nothing after it, is that address only.

Three entries that distccd takes are errors here. A number of bits that begins with no digit is 0
there, so that 10.0.0.0/x lets in the whole world. An address of fewer parts, or with leading zeros,
is not what it looks like: 10/8 is 0.0.0.10/8, and 010.0.0.1 is 8.0.0.1. And a name is looked up,
once, when the daemon starts: who answers for the name then decides who may run commands here.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

from ..errors import Fatal
from ..pattern import pattern

Mask: TypeAlias = IPv4Network | IPv6Network

# More digits are too many for either family.
_BITS: Final = pattern(r"[0-9]{1,3}")


class AccessError(Fatal):
    """An entry of an address list is wrong: the daemon does not start, and exits with 101."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=101)


def parse_mask(text: str) -> Mask:
    """Read one entry. Raises AccessError, in distccd's words followed by the remedy.

    The scope of an IPv6 address (``%eth0``) is dropped: peers are compared without theirs.
    """
    written, _, bits = text.partition("/")
    try:
        address: IPv4Address | IPv6Address = ip_address(written)
    except ValueError:
        raise AccessError(
            f'can\'t parse internet address "{written}": write an IPv4 address of four decimal'
            " numbers, or an IPv6 address without brackets; names are not looked up"
        ) from None
    length: int = address.max_prefixlen
    if bits:
        length = int(bits) if _BITS.fullmatch(bits) else -1
    if not 0 <= length <= address.max_prefixlen:
        raise AccessError(
            f'invalid mask "{bits}" of {written}: write the number of bits,'
            f" from 0 to {address.max_prefixlen}"
        )
    # By their numbers, because a scope would stay in the network.
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), length), strict=False)
    return IPv6Network((int(address), length), strict=False)


PRIVATE: Final[tuple[Mask, ...]] = tuple(
    parse_mask(text)
    for text in "192.168.0.0/16 10.0.0.0/8 172.16.0.0/12 127.0.0.0/8 fe80::/10 fc00::/7 ::1".split()
)
"""--allow-private, which is also what holds when no --allow is given (dopt.c, since 3.3)."""


def allows(masks: Iterable[Mask], address: str) -> bool:
    """Say whether a client at ``address``, as getpeername() gives it, is on the list.

    An IPv4 client that came in by an IPv6 socket (``::ffff:10.0.0.1``) matches IPv4 masks, and
    also IPv6 masks that hold its mapped address: with ::/0 on a socket for both it is allowed, as
    by distccd. What is no IP address is refused, and an empty list refuses everybody, where
    distccd in inetd mode lets everybody in: whoever has no list passes `PRIVATE`.
    """
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    # Not the compatible form ::10.0.0.1, which distccd takes for 10.0.0.1 too: no socket makes it
    # of an IPv4 client, and the prefix is deprecated (RFC 4291, 2.5.5.1).
    mapped = peer.ipv4_mapped if isinstance(peer, IPv6Address) else None
    return any(peer in mask or (mapped is not None and mapped in mask) for mask in masks)
