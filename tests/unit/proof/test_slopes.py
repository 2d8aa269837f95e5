"""A soak finds what grows, and is not fooled by noise, by a warm-up or by a single peak."""

import random
from xml.etree import ElementTree

import pytest

from tests.proof.plot import svg
from tests.proof.slopes import Series, grown, slope, steady

TIMES = [5.0 * number for number in range(240)]  # twenty minutes
RATE = 300.0


def series(kind: str, start: float, per_ten_minutes: float, noise: float) -> Series:
    draw = random.Random(1)
    values = tuple(start + per_ten_minutes * at / 600 + draw.uniform(-noise, noise) for at in TIMES)
    return Series("ledger-1", kind, values)


@pytest.mark.parametrize(
    ("kind", "start", "gain", "noise"),
    [
        ("memory", 120.0, 2.4, 4.0),  # 2%, under noise of more
        ("files", 40.0, 1.5, 3.0),
        ("connections", 12.0, 2.0, 1.0),
        ("lag", 30.0, 400.0, 200.0),
    ],
)
def test_a_leak_is_found(kind: str, start: float, gain: float, noise: float) -> None:
    found = grown(TIMES, series(kind, start, gain, noise), RATE)
    assert found["leaks"]
    assert found["in_ten_minutes"] == pytest.approx(gain, rel=0.5)


@pytest.mark.parametrize(
    ("kind", "start", "noise"),
    [("memory", 120.0, 1.5), ("files", 40.0, 3.0), ("connections", 12.0, 2.0), ("lag", 50.0, 50.0)],
)
def test_noise_is_no_leak(kind: str, start: float, noise: float) -> None:
    assert not grown(TIMES, series(kind, start, 0.0, noise), RATE)["leaks"]


def test_what_fills_in_the_warm_up_is_no_leak() -> None:
    warm = TIMES[steady(TIMES)]
    values = tuple(100.0 + 80.0 * min(at / warm, 1.0) for at in TIMES)
    assert not grown(TIMES, Series("api", "memory", values), RATE)["leaks"]


def test_a_sawtooth_and_a_peak_are_no_leak() -> None:
    values = [100.0 + number % 12 for number in range(len(TIMES))]
    values[-3] = 900.0
    assert slope(TIMES, values) == pytest.approx(0.0, abs=1e-3)
    assert not grown(TIMES, Series("api", "memory", tuple(values)), RATE)["leaks"]


def test_what_is_not_judged_is_told_all_the_same() -> None:
    leaking = series("memory", 120.0, 30.0, 1.0)
    found = grown(TIMES, Series("kafka", "memory", leaking.values, judged=False), RATE)
    assert not found["leaks"]
    assert found["percent"] > 10


def test_the_picture_has_a_line_for_each_process_in_its_panel() -> None:
    shown = [
        series("memory", 120.0, 2.0, 1.0),
        series("lag", 3.0, 0.0, 1.0),
        Series("a<b", "lag", (0.0,) * 240),
    ]
    tree = ElementTree.fromstring(svg("A title & more", TIMES, shown))
    assert len(tree.findall(".//{*}polyline")) == 3
    words = [text.text for text in tree.findall(".//{*}text")]
    assert {"a<b", "lag, events"} <= set(words)
    assert "open files" not in words
