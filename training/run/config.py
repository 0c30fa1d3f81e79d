"""What one training run needs to know, and the order of precedence of where it is said.

Presets give way to `--config FILE`, which gives way to the command line. Free of torch, so that `--help` is quick.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.cohort.label_words import MAP_FILE_HELP, MAP_HELP
from datasets.film.admission import FLAGS as ADMISSION_FLAGS
from datasets.film.identity import KEY_FILE
from training.console.commandline import (
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE_BELOW_1,
    WORKERS,
    Limits,
    Parser,
    as_typed,
    at_least,
    between,
    fields_of,
    flag_name,
    option,
    read_yaml,
    require_allowed,
)
from training.methods import METHODS
from training.run.presets import DATASETS, METHOD_PRESETS, found_cohort, preset, require_found
from training.run.rules import foreign_settings, require_consistent

AUTO = Path("auto")  # --resume auto
# Places on this machine stay out of a checkpoint, which travels.
LOCAL_SETTINGS = ("data_dir", "output", "hash_key", "config", "resume", "weights", "words", "map_file")
SIZE = Limits("must be from 8 to 8192", low=8, high=8192, without_high=False)
REDRAW = Limits("a share above 0, up to 1", high=1.0, without_low=True, without_high=False)
# Each is a row of a table in memory.
FILMS = Limits("must be from 50 to 10 million", low=50, high=1e7, without_high=False)
PROBABILITY = Limits("a probability, from 0 to 1", high=1.0, without_high=False)

LONGEST_COHORT_NAME = 40
TRACKERS = ("tensorboard", "wandb")  # their adapters are in training/loop/trackers.py

SELECTION_RULES = {
    "loss": "lowest cross-entropy on validation",
    "accuracy": "highest accuracy on validation, as the literature has it on Biased MNIST",
    "auroc": "highest AUROC on validation (accuracy where no class is positive)",
    "worst_group_accuracy": "highest accuracy of the worst target x bias cell on validation; reads bias labels",
    "last": "the last epoch",
}


def _admission(name: str) -> Any:
    """A setting of `datasets.film.admission`."""
    flag = ADMISSION_FLAGS[name]
    return option(flag.default, flag.help, choices=flag.choices, metavar=flag.metavar)


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    Attributes:
        parameters: hyper-parameters of its method, an instance of `METHODS[method].parameters`.
        given: what was stated, by command line or YAML file, by field name; the rest is preset or default.
    """

    dataset: str = option("covid", "what to train on", choices=tuple(DATASETS))
    method: str = option("end", "how to train", choices=tuple(METHODS))
    paired: bool = option(False, "train the ERM twin too: same split, seed, initial weights and batch order")
    config: Path | None = option(None, "YAML file with any of these settings; the command line wins over it")
    output: Path = option(Path("runs"), "where run folders are made")
    resume: Path | None = option(
        None,
        "run folder, or one of its resume-*.pt, to resume with its own settings; auto: with all other flags "
        "as before, the run in --output that they began, or a new one",
        metavar="auto|PATH",
    )
    seed: int = option(0, "initial weights, batch order, augmentation", limits=SEED)

    data_dir: Path | None = option(
        None,
        "folder with metadata.csv (covid) or MNIST (biased-mnist); covid also tries $END_CXR_DATA, then data/covid",
    )
    rho: float | None = option(
        None, "correlation of label and bias in phantom and biased-mnist, 0 to 1", limits=PROBABILITY
    )
    films: int | None = option(None, "training films of the phantom, or training digits of biased-mnist", limits=FILMS)
    classes: str | None = option(None, "train these classes, separated by commas, instead of covid against the rest")
    map: str | None = option(None, MAP_HELP, metavar="WORD=LABEL,...")
    map_file: Path | None = option(None, MAP_FILE_HELP, metavar="FILE")
    external_sources: str | None = option(None, "sources set apart as the external test set, separated by commas")
    external_column: str = option(
        "source", "column of metadata.csv, such as view, whose values --external-sources names in place of sources"
    )
    bias: str = option(
        "source",
        "columns of metadata.csv that must not be used, separated by commas, each with the weight of its terms in "
        "--method end (source,view:0.5; 1 without); weight 0: measured alone",
        metavar="COLUMN[:WEIGHT],...",
    )
    split_seed: int = option(
        0, "seed of the patient-grouped split, apart from --seed so that seeds share a test set", limits=SEED
    )
    redraw: float = option(
        1.0,
        "share of the training patients that each --seed draws, within source and label; 1: all of them",
        limits=REDRAW,
    )
    separate_copies: bool = option(
        False, "keep near-copies of one film (by perceptual hash) in one split, whatever patient they are filed under"
    )
    accept_unidentifiable: bool = option(False, "train although no target comes from two sources")
    aspect: str = option(
        "stretch", "fit a film to the square: stretch it, pad it or crop its centre", choices=("stretch", "pad", "crop")
    )
    intensity: str = option(
        "percentile", "grey levels: 0.5th to 99.5th percentile to [0, 1], or as read", choices=("percentile", "none")
    )
    voi: str = option(
        "lut",
        "greys of a DICOM film: its VOI LUT, its window, or neither; one without falls back in this order",
        choices=("lut", "window", "none"),
    )
    views: str = _admission("views")
    modalities: str = _admission("modalities")
    body_part: str = _admission("body_part")
    presentation: str = _admission("presentation")
    view_is: str | None = _admission("view_is")
    body_part_is: str | None = _admission("body_part_is")
    words: Path | None = _admission("words")
    accept_damaged: bool = _admission("accept_damaged")
    augment: bool = option(True, "affine, intensity and noise augmentation of training films; never a mirror")
    mix_amplitude: float = option(
        0.0,
        "probability that a training film takes low-frequency amplitudes, which carry exposure and contrast, of a "
        "training film of another source",
        metavar="P",
        limits=PROBABILITY,
    )
    cache: str = option(
        "memory", "where decoded, resized films stay between epochs", choices=("memory", "disk", "none")
    )
    sampler: str = option(
        "paired",
        "order of films: random, paired (groups spread evenly, every batch with a same-target cross-source pair) or "
        "balanced (target x bias groups drawn equally often, with replacement)",
        choices=("paired", "random", "balanced"),
    )

    model: str = option("resnet18", "any timm backbone, or simple_convnet")
    pretrained: bool = option(False, "start from timm's weights, fetched from its hub")
    weights: Path | None = option(None, "start from this local safetensors file in timm's names")
    model_kwargs: str | None = option(
        None,
        "further arguments of timm.create_model, such as drop_path_rate=0.1 act_layer=gelu",
        metavar="NAME=VALUE",
        words=True,
    )
    img_size: int = option(224, "side of the square input, px", limits=SIZE)
    in_chans: int = option(3, "input channels, 1 or 3")
    unit_norm: bool = option(False, "L2-normalise the bottleneck before the last layer")
    centred: bool = option(False, "batch-normalise the bottleneck first, so that cosines can be negative")
    logit_scale: float = option(1.0, "factor on the logits; 10 helps a unit-norm bottleneck to fit", limits=POSITIVE)

    epochs: int = option(10, "passes over the training films", limits=between(1, 1_000_000))
    batch_size: int = option(64, "films per step", "-b", limits=between(2, 1_000_000))
    opt: str = option("adamw", "any timm optimiser")
    lr: float = option(1e-3, "peak learning rate", search=(1e-5, 1e-1), limits=NOT_NEGATIVE)
    weight_decay: float = option(0.05, "weight decay", search=(1e-6, 1.0), limits=NOT_NEGATIVE)
    sched: str = option(
        "cosine", "learning rate: cosine to 0, step (x 0.1 each quarter) or none", choices=("cosine", "step", "none")
    )
    warmup_epochs: int = option(1, "epochs of linear warm-up", limits=NOT_NEGATIVE)
    clip_grad: float | None = option(None, "largest norm of the gradient", limits=NOT_NEGATIVE)
    accumulate: int = option(
        1, "split each batch into N parts to save memory; loss terms still use the whole batch", limits=at_least(1)
    )
    ema: float | None = option(
        None,
        "keep a moving average of the weights with this decay; validate and save the average",
        limits=SHARE_BELOW_1,
    )
    sync_bn: bool = option(False, "batch norm over the films of all processes (CUDA)")
    amp: bool = option(False, "mixed precision by autocast; the method's terms stay in float32")
    amp_dtype: str = option(
        "auto",
        "number type of autocast; auto is float16 on CUDA, bfloat16 on CPU",
        choices=("auto", "float16", "bfloat16"),
    )
    compile: bool = option(False, "compile the training step of the network with torch.compile")
    deterministic: bool = option(
        False, "use reproducible CUDA kernels, which are slower; the CPU is always reproducible"
    )
    channels_last: bool = option(True, "channels-last memory layout, faster for most CNNs")
    device: str = option("auto", "cuda, cpu or auto")
    workers: int = option(0, "DataLoader processes; films are cached, so 0 is best on few cores", limits=WORKERS)
    on_bad_image: str = option(
        "fail",
        "when a training film can't be decoded (--cache none): stop, or replace it by another film with its label and source",
        choices=("fail", "skip"),
    )
    save_minutes: float = option(
        10.0, "also save the resume state every N minutes within an epoch; 0: after every step", limits=NOT_NEGATIVE
    )
    keep: int = option(1, "how many saved states to keep until the training is finished", limits=at_least(1))
    select: str = option("loss", "which epoch is kept, judged on validation alone", choices=tuple(SELECTION_RULES))
    operating_point: str = option(
        "youden", "threshold fitted on validation: youden, sensitivity:0.9 or specificity:0.9"
    )
    tracker: str | None = option(None, "also send each epoch's numbers to this tracker", choices=TRACKERS)
    hash_key: Path | None = option(
        None, "key file of the hashes in predictions; default .hash-key of the cohort, else in --output"
    )

    parameters: Any = None
    given: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def cohort_name(self) -> str:
        """The folder of films as a part of run names, so that runs of two hospitals can be told apart; else the dataset."""
        folder = self.data_dir.resolve().name if self.dataset == "covid" and self.data_dir else ""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-.")[:LONGEST_COHORT_NAME] or self.dataset

    def with_settings(self, **values: Any) -> "TrainConfig":
        """The same training with other values, of its own fields or of its method's; checked.

        Another `method` starts from its preset and from what the user stated for it (`given`). Settings of other methods
        are left out.
        """
        method = values.get("method", self.method)
        start = dataclasses.asdict(self.parameters)
        if method != self.method:
            start = preset(self.dataset, method) | self.given
            presets = METHOD_PRESETS.get(self.dataset, {}).values()
            own = {name for settings in presets for name in _of(TrainConfig, settings)}
            values = {name: start.get(name, getattr(TrainConfig, name)) for name in own} | values
        kind = METHODS[method].parameters
        parameters = kind(**_of(kind, start | values))
        config = dataclasses.replace(self, **_of(TrainConfig, values), parameters=parameters)
        _validate(config)
        return config


def parse(
    arguments: Sequence[str], methods: Sequence[str] = (), own: Callable[[Parser], None] = lambda _: None
) -> TrainConfig:
    """The training that a command line names; exits with a sentence on a bad one.

    The preset of dataset and method gives way to `--config FILE`, which gives way to the flags.

    Args:
        methods: for commands that have a `--method` of their own: the methods they train, whose flags are all accepted.
            The first is that of the result; `with_settings(method=...)` gives the others.
        own: adds the command's own flags to `--help`.
    """
    usage = "%(prog)s [--dataset NAME] [--method NAME] [settings]"
    parser = Parser(prog="python -m training.train", usage=usage, description=DESCRIPTION, epilog=_epilog())
    early, _ = _parser_of_names().parse_known_args(arguments)
    try:
        if early.resume and early.resume != AUTO:
            return _resumed(early.resume, arguments)
        from_file = _read_config(early.config) if early.config else {}
        early_values = {name: value for name, value in vars(early).items() if value is not None}
        completed = _completed(from_file | early_values | ({"method": methods[0]} if methods else {}))
        if not {"-h", "--help"} & set(sys.argv[1:] if arguments is None else arguments):
            require_found(completed["data_dir"])
        names = {name: completed[name] for name in ("dataset", "method", "data_dir")}
        accepted = methods or (names["method"],)
        for name in from_file:
            if sentence := foreign_settings(accepted).get(name):
                raise ValueError(f"--config {early.config}: {sentence}")
        defaults = preset(names["dataset"], names["method"]) | from_file | names
        parser.add_dataclass(TrainConfig, "settings", defaults)
        for name in accepted:
            parser.add_dataclass(METHODS[name].parameters, f"settings of --method {name}", defaults)
        own(parser)
        parser.add_argument("--json", action="store_true", help="end with --result and JSON on a terminal too")
        elsewhere = {flag_name(name): sentence for name, sentence in foreign_settings(accepted).items()}
        flags = vars(parser.parse_strictly(arguments, elsewhere))
        settings = {name: flags[name] for name in flags if name in _every_setting()}  # others are the command's
        return configure(from_file | settings | names)
    except ValueError as error:
        parser.error(str(error))


def configure(values: Mapping[str, Any]) -> TrainConfig:
    """The training that these settings name, by field name: the preset of dataset and method, then `values`.

    `covid` without a cohort (no `data_dir`, no $END_CXR_DATA, no data/covid) becomes `phantom`. Settings of other methods
    are left out. Raises ValueError for no such dataset, method or setting, or a value of another type or outside its limits.
    """
    given = _completed(as_typed(values, _every_setting()))
    config = _made(preset(given["dataset"], given["method"]) | given, given)
    _validate(config)
    return config


def _made(settings: dict[str, Any], given: dict[str, Any]) -> TrainConfig:
    kind = METHODS[settings["method"]].parameters
    return TrainConfig(**_of(TrainConfig, settings), parameters=kind(**_of(kind, settings)), given=given)


def _of(options: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are options of a dataclass."""
    names = fields_of(options)
    return {name: value for name, value in settings.items() if name in names}


def as_settings(config: TrainConfig) -> dict[str, Any]:
    """All settings, the method's too, as one mapping of plain values: the contents of a run's config.yaml."""
    values = {name: getattr(config, name) for name in fields_of(TrainConfig)} | dataclasses.asdict(config.parameters)
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def public_settings(config: TrainConfig, *hidden: str) -> dict[str, Any]:
    """`as_settings` without places on this machine, which must not travel, and without `hidden` ones."""
    return {name: value for name, value in as_settings(config).items() if name not in (*LOCAL_SETTINGS, *hidden)}


def from_settings(path: Path) -> TrainConfig:
    """Read back a run's config.yaml, the reverse of `as_settings`; settings this version lacks are left out.

    Raises ValueError where it is not there, not YAML, or no settings of a run.
    """
    settings = read_yaml(path, _every_setting(), strict=False)
    if settings.get("method") not in METHODS or settings.get("dataset") not in DATASETS:
        raise ValueError(f"{path} names no dataset and method of this package")
    return _made(settings, settings)


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with their dataset, method, data folder and key."""
    dataset, method = values.get("dataset", "covid"), values.get("method", "end")
    for flag, name, names in (("dataset", dataset, DATASETS), ("method", method, METHODS)):
        if name not in names:
            raise ValueError(f"--{flag} {name}: there is no such {flag}; choose from {', '.join(names)}")
    data_dir = values.get("data_dir") or (found_cohort() if dataset == "covid" else None)
    if dataset == "covid" and data_dir is None:
        dataset = "phantom"
    completed = {**values, "dataset": dataset, "method": method, "data_dir": data_dir}
    if data_dir and dataset == "covid" and not values.get("hash_key") and (Path(data_dir) / KEY_FILE).is_file():
        completed["hash_key"] = Path(data_dir) / KEY_FILE  # metadata.csv has hashes by it
    return completed


def _read_config(path: Path) -> dict[str, Any]:
    """The settings of a --config file; refuses those of a run that a recipe made."""
    recipe = read_yaml(path, {"recipe": str}, strict=False).get("recipe")
    if recipe:
        raise ValueError(
            f"{path} is of a run that a recipe made: python -m training.recipe {recipe} RUN makes it again"
        )
    return read_yaml(path, _every_setting())


def _resumed(place: Path, arguments: Sequence[str]) -> TrainConfig:
    """The settings of the run that `--resume` names, which take no other flag beside them."""
    if len([part for argument in arguments if argument != "--json" for part in argument.split("=", 1)]) > 2:
        raise ValueError(f"--resume {place} resumes with the run's own settings: give no other flag beside it")
    path = (place if place.is_dir() else place.parent) / "config.yaml"
    if not path.is_file():
        raise ValueError(f"--resume {place}: give the folder of a run, which holds config.yaml, or a resume-*.pt in it")
    return configure(_read_config(path) | {"paired": False, "resume": place})  # each run of a pair by itself


def _parser_of_names() -> Parser:
    parser = Parser(add_help=False)
    for name, kind in (("dataset", str), ("method", str), ("config", Path), ("data_dir", Path), ("resume", Path)):
        parser.add_argument(flag_name(name), type=kind)
    return parser


def _every_setting() -> dict[str, Any]:
    settings = fields_of(TrainConfig)
    for entry in METHODS.values():
        settings |= fields_of(entry.parameters)
    return settings


def _validate(config: TrainConfig) -> None:
    for options in (config, config.parameters):
        require_allowed(options)
    require_consistent(vars(config))


DESCRIPTION = """Train a chest radiograph classifier, with EnD or without, and measure how far it relies on the source.
For research; not a medical device."""


def _epilog() -> str:
    datasets = [f"  {name}: {text}" for name, text in DATASETS.items()]
    methods = [f"  {name}: {entry.summary}" for name, entry in METHODS.items()]
    return "\n".join(["what --dataset names:", *datasets, "", "what --method names:", *methods])
