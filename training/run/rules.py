"""Which settings go together: plain rules over a training's settings, each with its sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets.cohort.label_words import label_map
from datasets.film.admission import policy_of
from models.keywords import KeywordError, parse_keywords
from training.console.commandline import fields_of, flag_name
from training.methods import METHODS
from training.run.biases import require_biases


def require_consistent(settings: Mapping[str, Any]) -> None:
    """Raise ValueError, with what to change, for settings that don't go together.

    Args:
        settings: all those of a `TrainConfig`, by field name.
    """
    if settings["in_chans"] not in (1, 3):
        raise ValueError(f"--in-chans {settings['in_chans']}: must be 1 or 3")
    if settings["pretrained"] and settings["weights"]:
        raise ValueError("--pretrained and --weights: give one of the two")
    try:
        parse_keywords((settings["model_kwargs"] or "").split())
    except KeywordError as error:
        raise ValueError(f"--model-kwargs: {error}") from None
    if settings["paired"] and settings["method"] == "erm":
        raise ValueError("--paired sets a method beside its ERM twin: choose another --method than erm")
    if len({name.strip().lower() for name in (settings["classes"] or "").split(",")} - {""}) == 1:
        raise ValueError(f"--classes {settings['classes']}: name two or more, separated by commas")
    if (settings["external_sources"] or "").strip() and not settings["external_sources"].strip(", "):
        raise ValueError(f"--external-sources {settings['external_sources']!r} names none")
    policy_of(settings)
    label_map(settings["map"], settings["map_file"])
    if settings["operating_point"] != "youden":
        # It brings scikit-learn, which --help does without.
        from training.bias.numbers.calibration import parse_operating_point

        parse_operating_point(settings["operating_point"])
    require_biases(settings["bias"], settings["method"], settings["parameters"])
    if settings["bias"] != "source" and settings["dataset"] == "biased-mnist":
        raise ValueError(
            "--bias is for chest radiographs: digits of --dataset biased-mnist have one bias, their colour"
        )
    if settings["dataset"] == "phantom" and settings["data_dir"] is not None:
        raise ValueError("--data-dir is for covid and biased-mnist; the phantom draws its films")
    made = "phantom and biased-mnist, whose films are made to order"
    places = {
        "rho": made,
        "films": made,
        **dict.fromkeys(("classes", "map", "map_file"), "cohorts of real films"),
        "separate_copies": "cohorts of real films",
    }
    foreign = ["rho", "films"] if settings["dataset"] == "covid" else ["classes", "map", "map_file", "separate_copies"]
    if settings["dataset"] == "biased-mnist":
        foreign.append("external_sources")
    if settings["external_column"] != "source" and not settings["external_sources"]:
        raise ValueError(f"--external-column {settings['external_column']}: name the values with --external-sources")
    for name in foreign:
        value = settings[name]
        if value is not None and value is not False:
            where = places.get(name, "chest radiographs")
            raise ValueError(f"{flag_name(name)} is for {where}, not for --dataset {settings['dataset']}")


def foreign_settings(accepted: Sequence[str]) -> dict[str, str]:
    """Settings that only other methods than the accepted ones have, each with the sentence that says so."""
    known = set().union(*(fields_of(METHODS[name].parameters) for name in accepted))
    owners: dict[str, list[str]] = {}
    methods = " and ".join(accepted)
    for name, entry in METHODS.items():
        for setting in fields_of(entry.parameters).keys() - known:
            owners.setdefault(setting, []).append(name)
    return {
        setting: f"{flag_name(setting)} belongs to --method {' or '.join(names)}; {methods} has no such setting"
        for setting, names in owners.items()
    }
