"""What --bias says, and which methods can take it."""

import pytest

from training.methods import METHODS
from training.run.biases import parse_biases
from training.run.config import parse


@pytest.mark.parametrize(
    "text, weights",
    [
        ("source", {"source": 1.0}),
        ("source,view:0.5", {"source": 1.0, "view": 0.5}),
        (" source : 2 , age_band ", {"source": 2.0, "age_band": 1.0}),
        ("source:0,view", {"source": 0.0, "view": 1.0}),
        ("ward:east", {"ward:east": 1.0}),
    ],
)
def test_columns_with_weights(text: str, weights: dict[str, float]) -> None:
    assert parse_biases(text) == weights


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "name columns"),
        ("source,", "name columns"),
        (":2", "name columns"),
        ("view,source,view:2", "view stands there twice"),
        ("view:-1", "the weight of view must be 0 or more"),
        ("view:nan", "the weight of view must be 0 or more"),
        ("view:inf", "the weight of view must be 0 or more"),
        ("view:0", "one weight at least must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--bias {text}: .*{message}"):
        parse_biases(text)


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_take_one_bias_name_those_that_take_several(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, flags = METHODS[method], ["--dataset", "phantom", "--method", method, "--bias", "source,view"]
    if method == "end" or not entry.uses_bias:
        assert parse(flags).bias == "source,view"
    else:
        with pytest.raises(SystemExit):
            parse(flags)
        said = capsys.readouterr().err
        assert (
            f"--method {method} takes one bias. Several are taken by end, and by methods that read none (erm, " in said
        )
        assert parse([*flags[:-1], "source:0,view"]).bias  # one that is read, and one that is measured


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset", "phantom", "--method", "lnl", "--bias", "view:2"], "--method lnl has no weight for a bias"),
        (["--dataset", "phantom", "--bias", "source,sex", "--cross-entropy", "balanced"], "balanced takes one bias"),
        (["--dataset", "biased-mnist", "--bias", "view"], "digits of --dataset biased-mnist have one bias"),
    ],
)
def test_what_does_not_go_together(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(flags)
    assert message in capsys.readouterr().err
