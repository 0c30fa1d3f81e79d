"""The command line: precedence of settings, and a sentence for every mistake."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.console.commandline import option_fields
from training.methods import METHODS
from training.run.config import TrainConfig, as_settings, configure, parse
from training.run.presets import PRESETS


@pytest.fixture(autouse=True)
def no_cohort_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_covid_without_a_cohort_is_the_phantom() -> None:
    config = parse([])
    assert (config.dataset, config.data_dir, config.model) == ("phantom", None, PRESETS["phantom"]["model"])
    assert config.parameters == METHODS["end"].parameters(alpha=0.1, beta=5.0)


def test_covid_finds_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(["--data-dir", "films"]).data_dir == Path("films")
    (tmp_path / "data/covid").mkdir(parents=True)
    assert parse([]).data_dir == Path("data/covid")
    monkeypatch.setenv("END_CXR_DATA", "elsewhere")
    for flags in ([], ["--films", "100"]):  # which only synthetic films take: what is wrong is the folder
        with pytest.raises(SystemExit):
            parse(flags)
        assert "$END_CXR_DATA names elsewhere, which has no metadata.csv" in capsys.readouterr().err
    Path("elsewhere").mkdir()
    Path("elsewhere/metadata.csv").touch()
    config = parse([])
    assert (config.dataset, config.data_dir, config.model) == ("covid", Path("elsewhere"), PRESETS["covid"]["model"])


def test_the_phantom_ignores_a_real_cohort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END_CXR_DATA", "elsewhere")
    assert parse(["--dataset", "phantom"]).data_dir is None


def test_command_line_over_yaml_over_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 3\nbatch-size: 16\nlr: 1e-4\nalpha: 2\nchannels_last: false\n")
    config = parse(["--config", str(file), "-b", "8"])
    assert (config.epochs, config.batch_size, config.lr, config.channels_last) == (3, 8, 1e-4, False)
    assert (config.parameters.alpha, config.parameters.beta) == (2.0, PRESETS["phantom"]["beta"])
    assert config.img_size == PRESETS["phantom"]["img_size"]


@pytest.mark.parametrize(
    ("arguments", "kernel"),
    [
        (["--data-dir", "films"], "median"),
        (["--data-dir", "films", "--kernel", "fixed"], "fixed"),
        (["--dataset", "phantom"], "fixed"),
        (["--dataset", "biased-mnist"], "fixed"),
    ],
    ids=str,
)
def test_rebias_has_a_kernel_that_suits_the_features(arguments: list[str], kernel: str) -> None:
    assert parse(["--method", "rebias", *arguments]).parameters.kernel == kernel
    assert parse(arguments, ["erm", "rebias"]).with_settings(method="rebias").parameters.kernel == kernel


@pytest.mark.parametrize(
    ("arguments", "end", "erm"),
    [
        ([], "balanced", "paired"),
        (["--data-dir", "films"], "balanced", "paired"),
        (["--sampler", "random"], "random", "random"),
        (["--sampler", "paired"], "paired", "paired"),
        (["--dataset", "biased-mnist"], "random", "random"),
    ],
    ids=str,
)
def test_films_of_end_are_balanced_unless_stated_and_those_of_its_plain_twin_are_not(
    arguments: list[str], end: str, erm: str
) -> None:
    config = parse(arguments)
    assert (config.method, config.sampler) == ("end", end)
    twin = config.with_settings(method="erm")
    assert twin.sampler == parse(["--method", "erm", *arguments]).sampler == erm
    assert twin.with_settings(method="end").sampler == end
    assert config.with_settings(method="erm", sampler="balanced").sampler == "balanced"
    assert config.with_settings(seed=3).sampler == end
    assert parse(arguments, ["erm", "end"]).with_settings(method="end").sampler == end


def test_a_run_s_config_is_a_config_file(tmp_path: Path) -> None:
    config = parse(["--seed", "4", "--beta", "0.5", "--rho", "0.9", "--no-augment"])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(as_settings(config)))
    again = parse(["--config", str(file)])
    assert as_settings(again) | {"config": None} == as_settings(config)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "erm", "--alpha", "1"], "--alpha belongs to --method end; erm has no such setting"),
        (["--method", "erm", "--form=absolute"], "--form belongs to --method end"),
        (["--bath-size", "3"], "unknown argument --bath-size; did you mean --batch-size?"),
        (["--batch", "3"], "unknown argument --batch"),
        (["--dataset", "chexpert"], "there is no such dataset; choose from covid, phantom, biased-mnist"),
        (["--method", "irm"], "there is no such method; choose from"),
        (["--rho", "1.5"], "a probability, from 0 to 1"),
        (["--mix-amplitude", "1.5"], "--mix-amplitude 1.5: a probability, from 0 to 1"),
        (["--mix-amplitude", "-0.1"], "--mix-amplitude -0.1: a probability, from 0 to 1"),
        (["--mix-amplitude", "nan"], "--mix-amplitude nan: a probability, from 0 to 1"),
        (["--mix-amplitude", "often"], "invalid float value"),
        (["--data-dir", "films", "--rho", "0.9"], "--rho is for phantom and biased-mnist"),
        (["--dataset", "phantom", "--classes", "a,b"], "--classes is for cohorts of real films"),
        (["--dataset", "phantom", "--separate-copies"], "--separate-copies is for cohorts of real films"),
        (["--dataset", "biased-mnist", "--external-sources", "a"], "--external-sources is for chest radiographs"),
        (["--in-chans", "2"], "must be 1 or 3"),
        (["--classes", "covid, COVID"], "name two or more, separated by commas"),
        (["--epochs", "0"], "--epochs 0: must be from 1 to 1,000,000"),
        (["--epochs", "many"], "invalid int value"),
        (["--batch-size", "1" + 21 * "0"], "--batch-size 1000000000000000000000: must be from 2 to 1,000,000"),
        (["--output", ""], "argument --output: it is empty: name a file or folder"),
        (["--data-dir", " "], "argument --data-dir: it is empty"),
        (["--dataset", "covid", "--external-sources", " , "], "--external-sources ' , ' names none"),
        (["--alpha", "-1"], "--alpha -1.0: must not be negative, and finite"),
        (["--lr", "nan"], "--lr nan: must not be negative, and finite"),
        (["--method", "rubi", "--mask-weight", "-1"], "--mask-weight -1.0: must not be negative, and finite"),
        (["--method", "rebias", "--sigma", "0"], "--sigma 0.0: must be above 0, and finite"),
        (["--method", "fairkl", "--temperature", "0"], "--temperature 0.0: must be above 0, and finite"),
        (["--method", "fairkl", "--kld", "-1"], "--kld -1.0: must not be negative, and finite"),
        (["--method", "group_dro", "--step-size", "nan"], "--step-size nan: must be above 0, and finite"),
        (["--method", "group_dro", "--adjustment", "-1"], "--adjustment -1.0: must not be negative, and finite"),
        (["--method", "bias_contrastive", "--ce-weight", "-1"], "--ce-weight -1.0: must not be negative, and finite"),
        (["--method", "lnl", "--reversal", "inf"], "--reversal inf: must not be negative, and finite"),
        (["--method", "lff", "--gce-power", "1.5"], "--gce-power 1.5: above 0, up to 1"),
        (["--method", "lff", "--loss-memory", "1"], "--loss-memory 1.0: a share, from 0 to below 1"),
        (["--method", "hex", "--ridge", "nan"], "--ridge nan: must be above 0, and finite"),
        (["--method", "hex", "--grey-levels", "1"], "--grey-levels 1: from 2 to 256"),
        (["--method", "learned_mixin", "--bias-pretrain", "1"], "a share, from 0 to below 1"),
        (["--form", "squared"], "invalid choice"),
        (["--paired", "--method", "erm"], "choose another --method than erm"),
        (["--pretrained", "--weights", "w.safetensors"], "give one of the two"),
        (["--operating-point", "sensitivity:2"], "give youden, sensitivity:0.9 or specificity:0.9"),
        (["--films", "99999999999999"], "--films 99999999999999: must be from 50 to 10 million"),
        (["--config", "/dev/zero"], "/dev/zero: can't be read: larger than the 1048576 bytes allowed"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: can't be read"),
        (["--resume", "runs/x", "--epochs", "3"], "give no other flag"),
    ],
)
def test_mistakes_get_a_sentence(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in refused(capsys, *arguments)


def test_amplitude_mixing_is_asked_for(tmp_path: Path) -> None:
    assert parse([]).mix_amplitude == 0 and parse(["--mix-amplitude", "0.5"]).mix_amplitude == 0.5
    (tmp_path / "run.yaml").write_text("mix-amplitude: 1\n")
    assert parse(["--config", str(tmp_path / "run.yaml")]).mix_amplitude == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch: 3", "unknown setting epoch; did you mean epochs?"),
        ("epochs: three", "epochs must be of type int"),
        ("epochs: true", "epochs must be of type int"),
        ("paired: 1", "paired must be of type bool"),
        ("- epochs", "expected lines such as"),
        ("epochs: [1\n", "can't be read as YAML: line 2, column 1: expected ',' or ']', but got '<stream end>'"),
        ("method: erm\nalpha: 1", "--alpha belongs to --method end"),
        ("sampler: sorted", "choose from paired, random"),
        ("epochs: 3\nlr: 1\nepochs: 4", "epochs stands there twice"),
        ("epochs:", "--epochs has no value: give one, or leave the setting out"),
        ("lr: ~", "--lr has no value"),
        ("output: ''", "output is empty: name a file or folder"),
    ],
)
def test_mistakes_in_yaml_get_a_sentence(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert expected in refused(capsys, "--config", str(file))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"metod": "end"}, "unknown setting metod; did you mean method"),
        ({"epochs": "3"}, "epochs must be of type int, not '3'"),
        ({"epochs": True}, "epochs must be of type int"),
        ({"epochs": -3}, "--epochs -3: must be from 1 to 1,000,000"),
        ({"external_sources": ("a",)}, "external_sources must be of type str"),
    ],
)
def test_mistakes_from_python_get_a_sentence(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        configure({"dataset": "phantom", **values})


def test_a_place_from_python_may_be_a_text() -> None:
    assert configure({"dataset": "covid", "data_dir": "films"}).data_dir == Path("films")


def test_every_field_has_help_and_no_method_hides_another_setting() -> None:
    fields = {field for entry in METHODS.values() for field in entry.parameters.__dataclass_fields__}
    assert not fields & set(TrainConfig.__dataclass_fields__)
    assert all(field.metadata["help"] for field in option_fields(TrainConfig).values())


def test_every_method_file_is_registered() -> None:
    folder = Path(sys.modules["training.methods"].__file__ or "").parent
    files = {file.name for file in folder.glob("*.py")} - {"__init__.py", "bias_network.py", "precision.py"}
    assert files == {entry.location.partition(":")[0] for entry in METHODS.values()}


def test_help_answers_without_torch() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['train', '--help']\n"
        "try: runpy.run_module('training.train', run_name='__main__')\n"
        "finally: print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("False")
    assert "--alpha" in shown and "not a medical device" in shown


def test_a_command_line_mistake_answers_before_the_heavy_imports() -> None:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "training.train", "--epocs", "1"], capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean --epochs?" in done.stderr and "Traceback" not in done.stderr
    assert time.perf_counter() - started < 60  # a hang, not a speed


def test_a_recipes_run_is_made_again_by_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("dataset: phantom\nmethod: erm\nrecipe: jtt\nparent: run\n")
    for arguments in (["--resume", str(tmp_path)], ["--config", str(tmp_path / "config.yaml")]):
        assert "python -m training.recipe jtt RUN makes it again" in refused(capsys, *arguments)


def test_json_is_a_flag_of_the_command_and_no_setting() -> None:
    assert parse(["--dataset", "phantom", "--json"]) == parse(["--dataset", "phantom"])
    assert "json" not in as_settings(parse(["--dataset", "phantom", "--json"]))


def test_more_workers_than_a_machine_can_have_are_refused() -> None:
    with pytest.raises(ValueError, match="--workers 1000: processes from 0 to 256"):
        configure({"dataset": "phantom", "workers": 1000})


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("St. Mary's films", "St.-Mary-s-films"),
        ("covid-cxr", "covid-cxr"),
        ("Röntgen", "R-ntgen"),
        ("肺", "covid"),
        ("a" * 99, "a" * 40),
    ],
)
def test_a_run_is_named_after_the_folder_of_its_films(folder: str, expected: str, tmp_path: Path) -> None:
    assert configure({"dataset": "covid", "data_dir": tmp_path / folder}).cohort_name == expected
    assert configure({"dataset": "phantom"}).cohort_name == "phantom"
