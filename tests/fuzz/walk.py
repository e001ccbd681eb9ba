"""Chooses the steps of a fuzzing run: scenarios, edits at random, and returns to earlier states."""

from __future__ import annotations

import collections
import dataclasses
import random

from tests.fuzz.edits import anything
from tests.fuzz.project import Toolchain, first_state
from tests.fuzz.scenarios import SCENARIOS
from tests.fuzz.states import State

HISTORY = 60  # states that may be gone back to
# A wrapper may trust files only some time after their last change (2 s are usual), and takes a
# shorter way then; that way has to be walked as well, but waiting for it is slow.
SETTLE = 2.2  # seconds
SETTLED_SHARE = 0.07  # of the scenarios
FAILURES = 4  # compiles in a row that may fail before the walk starts afresh


def at_rest(state: State) -> State:
    """The state without what holds for one step alone."""
    return state.replace(race=0.0, prior="", settle=0.0, unseen=False)


class Walk:
    """An endless sequence of states, the same for the same seed and the same answers."""

    def __init__(
        self, seed: int, tools: Toolchain, state: State, **always: tuple[bytes, ...]
    ) -> None:
        """Begin at `state`; `seed` decides everything. ``always``: these groups of arguments are
        so whenever it begins afresh."""
        self.always = always
        self.rng = random.Random(seed)
        self.tools = tools
        self.first = state
        self.state = state
        self.plan: collections.deque[State] = collections.deque()
        self.history: collections.deque[State] = collections.deque([state], maxlen=HISTORY)
        self.deck: list[str] = []
        self.failures = 0

    def next(self) -> State:
        """The next state to compile."""
        if not self.plan:
            self._choose()
        state = self.plan.popleft()
        if self.rng.random() < 0.25 and not state.command.prior:
            state = state.replace(wrapper_first=True)
        self.state = state
        return state

    def following(self) -> State | None:
        """The state that a racing compile is disturbed with."""
        return self.plan[0] if self.plan else None

    def tell(self, *, compiled: bool) -> None:
        """Say whether the last state compiled; one that does not is not gone back to."""
        if compiled:
            self.failures = 0
            self.history.append(self.state)
        else:
            self.failures += 1

    def _choose(self) -> None:
        base = at_rest(self.state).replace(wrapper_first=False)
        if self.failures >= FAILURES:
            self.failures = 0
            self.plan.append(self._afresh())
            return
        draw = self.rng.random()
        if draw < 0.34:
            if not self.deck:
                self.deck = sorted(SCENARIOS)
                self.rng.shuffle(self.deck)
            name = self.deck.pop()
            for state in SCENARIOS[name](self.rng, base, self.tools):
                self.plan.append(state.named(f"{name}: {state.note}"))
            if self.rng.random() < SETTLED_SHARE:
                first = self.plan[0]
                settled = at_rest(first).replace(f"{first.note}, settled", settle=SETTLE)
                self.plan.extendleft((settled.replace(settle=0.0), settled, first))
        elif draw < 0.58:
            self.plan.append(anything(self.rng, base, self.tools))
        elif draw < 0.66:
            self.plan.append(base.named("again"))
        elif draw < 0.96:
            earlier = at_rest(self.rng.choice(self.history))
            self.plan.append(earlier.named("back to an earlier state"))
        else:
            self.plan.append(self._afresh())

    def _afresh(self) -> State:
        source = self.rng.choice(self.tools.sources)
        command = first_state(self.tools, source).command
        groups = (*command.groups, *self.always.items())
        command = dataclasses.replace(command, groups=tuple(dict(groups).items()))
        return dataclasses.replace(self.first, command=command, note="afresh")
