"""The commands of docs/ccache-chain.md do what the text says, in the order of the text."""

from __future__ import annotations

import re

import pytest

from tests.daemon_kit import ROOT, daemon
from tests.e2e.kit import World

DOCUMENT = ROOT / "docs/ccache-chain.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def world(private: World) -> World:
    private.write("hello.c", '#include <stdio.h>\nint main(void) { return puts("hello"); }\n')
    return private


def test_its_commands(world: World) -> None:
    assert len(BLOCKS) == 5
    with daemon("pyccd") as one, daemon("pyccd") as other:
        exported = ""
        for number, block in enumerate(BLOCKS):
            script = block.replace("build1", f"127.0.0.1:{one.port}")
            script = script.replace("build2", f"127.0.0.1:{other.port}")
            path = f"{world.install.links}:{world.install.prefix / 'bin'}:/usr/bin:/bin"
            done = world.call("sh", "-exc", exported + script, env={"PATH": path})
            assert done.status == 0, (block, done)
            exported = exported or next(
                line for line in script.splitlines(True) if "export" in line
            )
            if number == 0:
                assert b"Compiled there" in done.out, done
        # The last block but one: the local cache was not asked, the server's was.
        assert one.summaries()[-1].endswith("cache:hit")
