"""A cache of films that is bounded by their weight."""

from app.reading.held_films import HeldFilms


def test_the_last_used_stay_within_the_limit() -> None:
    held = HeldFilms(100)
    for name in "abc":
        held.put(name, name.upper(), 30)
    assert held.get("a") == "A"  # now b was not used for longest
    held.put("d", "D", 30)
    assert [held.get(name) for name in "abcd"] == ["A", None, "C", "D"] and held.bytes == 90
    held.put("d", "E", 10)
    assert held.get("d") == "E" and held.bytes == 70


def test_one_above_the_limit_is_not_held() -> None:
    held = HeldFilms(100)
    held.put("a", "A", 50)
    held.put("b", "B", 101)
    assert held.get("b") is None and held.bytes == 0
