"""What is told while work goes on, where the output is no terminal: a line a stage, and the time that is left."""

from __future__ import annotations

import time

import pytest

from snpimpute.base.progress import LineWatch
from snpimpute.base.words import lasting

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


class Hand:
    """A clock that is moved by hand, in seconds after noon."""

    at = 0.0

    def __call__(self) -> float:
        return NOON + self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def watch(hand: Hand) -> LineWatch:
    watch = LineWatch()
    watch.clock = hand
    return watch


def told(capsys: pytest.CaptureFixture) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_the_time_left_is_told_once_a_piece_is_done_and_when_half_of_it_has_passed(capsys, watch, hand):
    with watch:
        watch.stage("read")
        hand.at = 5
        watch.stage("fit 10 windows")
        watch.progress(0, 10)
        assert told(capsys) == ["12:00:00 read", "12:00:05 fit 10 windows"]
        for done, at in enumerate((25, 40, 66, 86, 106, 126, 146, 166, 186), 1):
            hand.at = at
            watch.progress(done, 10)
        watch.progress(10, 10)
    assert told(capsys) == [
        "12:00:25 fit 10 windows: 1 of 10, about 3 min left",
        "12:02:06 fit 10 windows: 6 of 10, about 81 s left",
        "12:03:06 fit 10 windows: 9 of 10, about 20 s left",
    ]


def test_pieces_that_were_there_before_do_not_make_it_look_fast(capsys, watch, hand):
    watch.stage("read")
    watch.stage("impute 100 windows")
    watch.progress(90, 100)
    hand.at = 60
    watch.progress(91, 100)
    assert told(capsys)[-1] == "12:01:00 impute 100 windows: 91 of 100, about 9 min left"


def test_what_comes_before_the_first_piece_does_not_make_the_others_look_slow(capsys, watch, hand):
    watch.stage("read")
    watch.stage("train a network, then impute 16 masks")
    hand.at = 300
    watch.progress(1, 16)
    hand.at = 305
    watch.progress(2, 16)
    assert told(capsys)[-1] == "12:05:05 train a network, then impute 16 masks: 2 of 16, about 70 s left"


def test_a_stage_with_a_time_limit_has_no_more_left_than_that(capsys, watch, hand):
    watch.stage("read")
    watch.stage("tune, 50 trials", 600.0)
    watch.progress(0, 50)
    hand.at = 40
    watch.progress(1, 50)
    assert told(capsys)[1:] == [
        "12:00:00 tune, 50 trials: 10 min at most",
        "12:00:40 tune, 50 trials: 1 of 50, about 9 min left",
    ]


def test_what_is_short_has_its_line_alone(capsys, watch, hand):
    watch.stage("read")
    watch.stage("write")
    for done in range(5):
        hand.at = done
        watch.progress(done, 5)
    assert told(capsys) == ["12:00:00 read", "12:00:00 write"]


def test_bad_input_that_the_first_stage_finds_is_one_line(capsys, watch):
    with pytest.raises(ValueError, match="not a VCF"), watch:
        watch.stage("read")
        raise ValueError("not a VCF")
    assert told(capsys) == []


def test_the_first_stage_is_told_with_the_time_when_it_began(capsys, watch, hand):
    with watch:
        watch.stage("read")
        hand.at = 90
        watch.warn("a sample is there twice")
    assert told(capsys) == ["12:00:00 read", "snpimpute: a sample is there twice"]
    other = LineWatch()
    other.clock = hand
    with other:
        other.stage("read")
    assert told(capsys) == ["12:01:30 read"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "under 0.1 s"),
        (0.42, "0.4 s"),
        (7.3, "7 s"),
        (100, "100 s"),
        (150, "2 min"),
        (3600, "1 h"),
        (8400, "2 h 20 min"),
    ],
)
def test_times_in_words(seconds, said):
    assert lasting(seconds) == said
