"""A head on frozen layers: features read once, weights, strength, the files of a run, other tools, mistakes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import training.train
from datasets.cohort.films import Cohort
from datasets.sample import Split
from models.classifier import ModelConfig, ModelError
from training.cards.model_card import write_card
from training.recipe import head, strength
from training.recipe.__main__ import main, read_arguments
from training.recipe.head import balanced_weights, fit_head, fit_new_head, freeze, settings_of_head
from training.recipe.last_layer import LastLayer
from training.recipe.parent import RecipeError
from training.recipe.strength import FIXED, STRENGTHS, Films, choose_strength, class_auroc
from training.run.checkpoint import load_checkpoint
from training.run.config import from_settings
from training.run.films import cohort_of, preprocessing_of
from training.scoring.films import films_of, same_films
from training.scoring.predict import Predictor, infer
from training.scoring.score import score
from training.scoring.subjects import load_subjects

SMALL = ["--dataset", "phantom", "--films", "120", "--in-chans", "1"]
MODELS = {"test_resnet": ("32", (3, 4)), "test_vit": ("64", (3, 5))}  # side of the image, layers read by default


def published(name: str, folder: Path) -> Path:
    """Weights as timm publishes them, of three channels and 1,000 classes, at random."""
    torch.manual_seed(1)
    file = folder / f"{name}.safetensors"
    size = {"img_size": 64} if name == "test_vit" else {}
    save_file(timm.create_model(name, **size).state_dict(), file)
    return file


@pytest.fixture(scope="module", params=MODELS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head on published weights."""
    name = request.param
    root = tmp_path_factory.mktemp("head")
    weights = published(name, root)
    network = ["--model", name, "--img-size", MODELS[name][0], "--weights", str(weights)]
    main(["head", *SMALL, *network, "--output", str(root)])
    return root / f"phantom-head-{name}-s0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parents")
    small = [*SMALL, "--model", "test_resnet", "--img-size", "32", "--epochs", "1"]
    training.train.main([*small, "--method", "erm", "--output", str(root)])
    return root / "phantom-erm-test_resnet-s0"


@pytest.fixture(scope="module")
def child(run: Path) -> Path:
    main(["head", str(run), "--layers", "1,4,output"])
    return run.parent / f"{run.name}-head"


def cohort_at(run: Path) -> Cohort:
    config = from_settings(run / "config.yaml")
    return cohort_of(config, preprocessing_of(config)).cached("memory")


def cohort_films(cohort: Cohort, features: np.ndarray) -> Films:
    at, table = cohort.positions(Split.TRAIN), cohort.table
    patient = np.unique(table["patient"].to_numpy(), return_inverse=True)[1]
    return Films(features[at].astype(float), table["target"].to_numpy()[at], table["bias"].to_numpy()[at], patient[at])


def drawn(seed: int, sources: int = 3, classes: int = 2, films: int = 400) -> Films:
    """Films of two a patient, with a feature that follows the class, one that follows the source, and one of noise."""
    rng = np.random.default_rng(seed)
    target, source = (np.repeat(rng.integers(0, count, films // 2), 2) for count in (classes, sources))
    features = np.stack([target, source, 0 * target], 1) + rng.normal(size=(films, 3))
    return Films(features, target, source, np.arange(films) // 2)


@pytest.mark.trains
def test_it_is_the_regression_on_pooled_maps_of_frozen_layers(made: Path) -> None:
    checkpoint, cohort = load_checkpoint(made), cohort_at(made)
    layers = MODELS[checkpoint.model.name][1]
    assert checkpoint.model.layers == layers and list(layers) == checkpoint.settings["layers"]
    model = checkpoint.build()
    weights = freeze(from_settings(made / "config.yaml"), None, None).weights
    assert all(torch.equal(values, weights[name]) for name, values in model.backbone.state_dict().items())

    found = infer(model, cohort.samples(), np.arange(len(cohort.table)), torch.device("cpu"))
    with torch.inference_mode():
        image = cohort.samples().__getitems__([0, 5]).image
        maps = model.backbone.forward_intermediates(image, intermediates_only=True)
    by_hand = torch.cat([maps[layer].flatten(2).mean(2) for layer in layers], 1)
    assert np.allclose(found.features[[0, 5]], by_hand, atol=1e-5)

    films, chosen = cohort_films(cohort, found.features), checkpoint.settings["strength"]
    scaler = StandardScaler().fit(films.features)
    plain = LogisticRegression(C=chosen, max_iter=1000)
    plain.fit(scaler.transform(films.features), films.target, sample_weight=balanced_weights(films))
    decision = plain.decision_function(scaler.transform(found.features))
    assert chosen in STRENGTHS and np.allclose(found.logits[:, 1] - found.logits[:, 0], decision, atol=1e-3)


@pytest.mark.trains
def test_its_folder_is_that_of_a_run(made: Path) -> None:
    names = {"config.yaml", "model.safetensors", "predictions.parquet", "reference.safetensors", "report.json"}
    assert names <= {file.name for file in made.iterdir()}
    report, checkpoint = json.loads((made / "report.json").read_text()), load_checkpoint(made)
    (own,) = report["runs"]
    assert own["method"] == "head" and report["training_used_bias_labels"] and report["selection"]["epoch"] == 0
    assert "was chosen by" in report["notes"][-1] and report["recipe"]["strength_rule"] in strength.RULES
    assert checkpoint.settings["parent"] is None and not checkpoint.settings["unit_norm"]
    assert checkpoint.threshold is not None and checkpoint.temperature > 0
    table = pd.read_parquet(made / "predictions.parquet")
    test = table.query("split == 'test'")
    assert own["metrics"]["test"]["auroc"] == pytest.approx(roc_auc_score(test["target"] == "covid", test["score"]))
    card = write_card(made).read_text()
    assert "No network was trained" in card and "pooled features of layers" in card and "backbone is frozen" in card


@pytest.mark.trains
def test_others_load_it_as_any_run(run: Path, child: Path) -> None:
    before, after = load_checkpoint(run), load_checkpoint(child)
    assert after.model.layers == (1, 4, "output")
    frozen = {name for name, values in before.weights.items() if torch.equal(values, after.weights[name])}
    assert frozen == {name for name in before.weights if name.startswith("backbone.")}
    report = json.loads((child / "report.json").read_text())
    assert [entry["method"] for entry in report["runs"]] == ["erm", "erm+head"]
    assert report["recipe"]["parent"] == run.name
    assert "by the recipe `head`" in write_card(child).read_text()

    (together,) = same_films(load_subjects([run, child], "cpu"), None)
    scored, unreadable = score([s.predictor for s in together], films_of(together, None, "test"))
    own = pd.read_parquet(child / "predictions.parquet").query("split == 'test'")
    assert not unreadable and scored[1].features.shape[1] == after.weights["head.weight"].shape[1]
    assert np.allclose(own["logit"], scored[1].logits[:, 1] - scored[1].logits[:, 0], atol=1e-4)
    assert isinstance(Predictor.load(child), Predictor)


@pytest.mark.trains
def test_a_backbone_without_inner_layers_and_ten_classes(drawn_digits: Path, tmp_path: Path) -> None:
    training.train.main(
        ["--dataset", "biased-mnist", "--data-dir", str(drawn_digits), "--films", "400", "--epochs", "1", "--method", "erm",
         "--img-size", "14", "--output", str(tmp_path)]
    )  # fmt: skip
    (parent,) = tmp_path.glob("biased-mnist-erm-*")
    main(["head", str(parent)])
    found = load_checkpoint(parent.with_name(f"{parent.name}-head"))
    assert found.model.layers == () and found.settings["layers"] == ["output"] and found.threshold is None
    assert found.weights["head.weight"].shape[0] == 10 and found.metrics["train"]["accuracy"] > 0.3


def test_groups_weigh_alike_and_no_patient_dominates() -> None:
    films = drawn(0, sources=2)
    uneven = np.flatnonzero((films.target != films.source) | (np.arange(400) % 10 == 0))
    films = films.at(uneven)
    weight = balanced_weights(films)
    cells = pd.Series(weight).groupby([films.target, films.source]).sum()
    assert np.allclose(cells, len(uneven) / 4) and weight.mean() == pytest.approx(1)
    busy = films._replace(patient=np.where(films.target == 1, 0, films.patient).astype(int))
    busy.patient[np.flatnonzero(films.target == 1)[:30]] = 1000 + np.arange(30)
    weight = balanced_weights(busy)
    inside = (busy.target == 1) & (busy.source == 1)
    many = inside & (busy.patient == 0)
    assert weight[many].max() < weight[inside & ~many].min()


def test_strength_is_by_auroc_on_sources_left_out() -> None:
    films, shared = drawn(1), 3 * np.random.default_rng(0).normal(size=(400, 1))
    # A strong penalty can't tell the class from the noise that two features share, a weak one can.
    films = films._replace(features=films.features + shared * [1, 0, 1])
    found = choose_strength(films, fit_head)
    means = []
    for value in STRENGTHS:
        each = []
        for source in range(3):
            out = films.source == source
            layer = fit_head(films.at(~out), value)
            each.append(class_auroc(films.at(out), layer.logits(films.features[out])))
        means.append(np.mean(each))
    assert found.rule == "held-out sources" and found.sources == 3
    near = [value for value, mean in zip(STRENGTHS, means, strict=True) if mean >= max(means) - 0.02]
    assert found.value == near[0] and found.auroc == pytest.approx(means[STRENGTHS.index(near[0])])
    assert STRENGTHS[0] < found.value < STRENGTHS[int(np.argmax(means))], "neither the strongest nor the very best"


def test_which_rule_is_possible() -> None:
    films = drawn(2)
    one_mixed = films._replace(source=np.where(films.source == 0, 0, 1 + films.target))
    assert choose_strength(one_mixed, fit_head).rule == "held-out patients"
    unmixed = films._replace(source=films.target)
    assert choose_strength(unmixed, fit_head).rule == "held-out patients"
    few = films.at(np.r_[np.flatnonzero(films.target == 0), np.flatnonzero(films.target == 1)[:6]])
    found = choose_strength(few, fit_head)
    assert (found.rule, found.value, found.sources) == ("fixed", FIXED, 0) and np.isnan(found.auroc)
    many = films._replace(source=films.patient % 12)
    assert choose_strength(many._replace(features=many.features[:, :1]), fit_head).rule == "held-out sources"


def test_no_film_that_is_held_out_is_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    films, seen = drawn(3), []

    def spy(given: Films, value: float) -> LastLayer:
        seen.append(set(given.source))
        return fit_head(given, value)

    choose_strength(films, spy)
    assert len(seen) == 3 * len(STRENGTHS) and all(len(sources) == 2 for sources in seen)


def test_three_classes_are_fitted_jointly() -> None:
    films, other = drawn(4, classes=3), drawn(5, classes=3)
    found = choose_strength(films, fit_head)
    layer = fit_head(films, found.value)
    assert layer.weight.shape == (3, 3) and found.rule == "held-out sources"
    assert class_auroc(other, layer.logits(other.features)) > 0.65


@pytest.mark.trains
def test_a_class_without_training_films_is_named(run: Path) -> None:
    cohort, config = cohort_at(run), settings_of_head(from_settings(run / "config.yaml"), None)
    kept = [i for i, film in cohort.table.iterrows() if film["split"] != "train" or film["target"] == 0]
    frozen = head.Frozen(ModelConfig("test_resnet", 2, 1, 32), {})
    with pytest.raises(RecipeError, match=f"train has no film of {cohort.info.targets[1]}"):
        fit_new_head(frozen, cohort.part(kept), config, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["head"], "give a RUN, or the published weights of a backbone"),
        (["head", *SMALL], "give a RUN, or the published weights of a backbone"),
        (["head", "--pretrained", "--epochs", "3"], "--epochs is for trainings; a head trains no network"),
        (["head", "--pretrained", "--no-augment"], "--no-augment is for trainings"),
        (["head", "--pretrained", "--modle", "resnet18"], "did you mean --model?"),
        (["head", "RUN", "--model", "resnet18"], "unknown argument --model: RUN has its own settings"),
        (["head", "RUN", "--layers", "3,x"], "3,x: give different numbers from 0, and output"),
        (["head", "RUN", "--layers", "3,3"], "3,3: give different numbers"),
        (["dfr", "RUN", "--layers", "3"], "--layers belongs to head"),
        (["head", "nowhere"], "give a run folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and expected in " ".join(capsys.readouterr().err.split())


def test_settings_are_those_of_training_but_for_its_network(tmp_path: Path) -> None:
    given = ["--layers", "output,4,3", "--weights", "w.safetensors", "--output", str(tmp_path), "--json"]
    options = read_arguments(["head", *SMALL, *given])
    assert options.layers == (3, 4, "output") and options.run is None and options.json
    config = settings_of_head(options.config, None)
    assert (config.films, config.output, config.weights) == (120, tmp_path, Path("w.safetensors"))
    assert (config.method, config.unit_norm, config.logit_scale, config.augment) == ("reweight", False, 1.0, False)


def test_layers_that_a_backbone_lacks(tmp_path: Path) -> None:
    network = ["--model", "test_resnet", "--img-size", "32", "--weights", str(published("test_resnet", tmp_path))]
    config = read_arguments(["head", *SMALL, *network]).config
    with pytest.raises(ModelError, match=r"layers 3,9: timm's test_resnet can't give them"):
        freeze(config, None, (3, 9))
