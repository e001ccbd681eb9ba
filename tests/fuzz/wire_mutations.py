"""Ways to spoil a message of distcc's protocol, decided by a random generator alone."""

from __future__ import annotations

import random
from collections.abc import Callable

PACKET = 12
NUMBERS = (
    "00000000 00000001 00000002 0000000c 00000100 00001000 00010000 000fffff 001fffff 00200001"
    " 3fffffff 40000000 40000001 7fffffff 80000000 fffffffe ffffffff 70796301 70796302 70796303"
    " FFFFFFFF 0000000G -0000001 +0000001 0x000010 __1____0 \x00\x00\x00\x00\x00\x00\x00\x01"
).split(" ")
NUMBERS += ["       1", "1       ", "\xff" * 8, "0000001\n"]
TOKENS = b"DIST ARGC ARGV DOTI CDIR NFIL NAME FILE LINK DONE STAT SERR SOUT DOTO DOTD TLEN".split()
GARBAGE = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    b"*",
    b"*TLEN00000010" + b"\x60" * 16,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\n",
    b"\0",
    b"DIST",
    b"\x00" * 4096,
    b"\xff" * 4096,
    b"DIST00000001" * 400,
)


def packets(data: bytes) -> list[bytes]:
    """A valid message, cut into packets with their bodies."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        token, number = data[at : at + 4], int(data[at + 4 : at + PACKET], 16)
        has_body = token not in (b"DIST", b"ARGC", b"NFIL", b"DONE", b"STAT")
        end = at + PACKET + (number if has_body else 0)
        parts.append(data[at:end])
        at = end
    return parts


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """A few bits anywhere."""
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def set_bytes(rng: random.Random, data: bytes) -> bytes:
    """A few bytes to values that mean something somewhere."""
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        spoiled[rng.randrange(len(spoiled))] = rng.choice(b'\0\n /@-.,="\\0f\x7f\x80\xff')
    return bytes(spoiled)


def cut(rng: random.Random, data: bytes) -> bytes:
    """Only the beginning."""
    return data[: rng.randrange(len(data))]


def number(rng: random.Random, data: bytes) -> bytes:
    """Another number in one packet's head."""
    parts = packets(data)
    at = rng.randrange(len(parts))
    head = parts[at]
    digits = rng.choice((*NUMBERS, *NUMBERS, "next", "before"))
    if digits in ("next", "before"):
        shifted = int(head[4:PACKET], 16) + (1 if digits == "next" else -1)
        digits = f"{shifted & 0xFFFFFFFF:08x}"
    parts[at] = head[:4] + digits.encode("latin-1") + head[PACKET:]
    return b"".join(parts)


def token(rng: random.Random, data: bytes) -> bytes:
    """Packets under other names, dropped, doubled, exchanged."""
    parts = packets(data)
    at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    match rng.randrange(4):
        case 0:
            parts[at] = rng.choice(TOKENS) + parts[at][4:]
        case 1:
            del parts[at]
        case 2:
            parts.insert(other, parts[at])
        case _:
            parts[at], parts[other] = parts[other], parts[at]
    return b"".join(parts)


def splice(rng: random.Random, data: bytes) -> bytes:
    """A part of the message within the message, or behind it."""
    at, begin = rng.randrange(len(data) + 1), rng.randrange(len(data))
    return data[:at] + data[begin : begin + rng.randrange(1, 400)] + data[at:]


def tail(rng: random.Random, data: bytes) -> bytes:
    """More behind the end."""
    return data + rng.choice((data, rng.randbytes(100), b"\0" * 5000, b"DIST00000001"))


def garbage(rng: random.Random, data: bytes) -> bytes:
    """Something else altogether."""
    return rng.choice((*GARBAGE, rng.randbytes(rng.randrange(1, 300))))


Mutation = Callable[[random.Random, bytes], bytes]

MUTATIONS: dict[str, tuple[int, Mutation]] = {
    "bits": (20, flip_bits),
    "bytes": (10, set_bytes),
    "cut": (10, cut),
    "number": (16, number),
    "token": (8, token),
    "splice": (5, splice),
    "tail": (4, tail),
    "garbage": (4, garbage),
}
"""By name: how often, and what."""


def any_mutation(rng: random.Random, data: bytes) -> tuple[str, bytes]:
    """One of all, in the table's shares; its name, and what it made of a valid message."""
    names = list(MUTATIONS)
    name = rng.choices(names, [MUTATIONS[one][0] for one in names])[0]
    return name, MUTATIONS[name][1](rng, data)


def bomb(rng: random.Random, most: int) -> bytes:
    """An LZO stream that grows to at most ``most`` bytes, by hand: no compressor writes so much of
    nothing so short, and some of these are spoilt."""
    size = rng.randrange(most // 2, most)
    # Four zeros, then one match at distance 1 whose length is 33 plus 255 for each zero byte.
    stream = bytearray(b"\x15" + b"\0" * 4)
    run, last = divmod(size - 33, 255)
    stream += b"\x20" + b"\0" * run + bytes((max(last, 1),)) + b"\0\0"
    stream += b"\x11\0\0"
    match rng.randrange(6):
        case 0:
            del stream[-3:]
        case 1:
            stream[-4:-3] = b"\xff"  # looks back beyond the beginning
        case 2:
            stream = bytearray(flip_bits(rng, bytes(stream)))
        case _:
            pass
    return bytes(stream)
