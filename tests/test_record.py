"""Records are what frozen, slotted dataclasses are."""

from __future__ import annotations

import pickle

import pytest

from pycc.record import made, mutable, record, replace


@record
class Point:
    """A place."""

    x: int
    y: int = 2

    @property
    def total(self) -> int:
        return self.x + self.y


@record
class Other:
    x: int
    y: int = 2


@record
class Nothing:
    pass


def test_fields_are_given_by_place_by_name_or_by_default() -> None:
    assert Point(1) == Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y, Point(1).total) == (1, 2, 3)
    assert Nothing() == Nothing()


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1})],
)
def test_other_arguments_are_refused(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)


def test_nothing_can_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 1  # type: ignore[attr-defined]
    assert point == Point(1)


def test_equality_and_hash_go_by_kind_and_values() -> None:
    assert Point(1) != Point(2)
    same_values: object = Other(1)
    assert Point(1) != same_values
    assert len({Point(1), Point(1), Point(2), same_values}) == 3


def test_replace_changes_a_copy() -> None:
    point = Point(1)
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1)


def test_a_record_shows_its_fields_and_matches_by_place() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2)"
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert not hasattr(Point(1), "__dict__")


def test_a_record_is_never_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Point(1))


@mutable
class Reader:
    """Something that fills."""

    name: str
    seen: list[int] = made(factory=list)
    last: int = 0


def test_a_mutable_record_can_be_changed_and_shares_nothing() -> None:
    one, two = Reader("a"), Reader("a")
    one.seen.append(1)
    one.last = 3
    assert (one.seen, one.last, two.seen, two.last) == ([1], 3, [], 0)
    assert one == Reader("a", [1], 3) == Reader(name="a", seen=[1], last=3)
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(AttributeError):
        one.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Reader()  # type: ignore[call-arg]
