"""What SECURITY.md promises of the sources and of what they depend on, told without running them."""

import ast
import importlib.metadata
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(file for room in ("app", "datasets", "models", "training") for file in (ROOT / room).rglob("*.py"))

FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle", "telnetlib",
    "socket", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "urllib.request", "urllib3",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.full_load", "yaml.unsafe_load",
    "yaml.load_all", "pd.read_pickle", "pandas.read_pickle", "joblib.load", "torch.jit.load", "torch.hub.load",
    "torch.serialization.add_safe_globals", "tempfile.mktemp", "PersistentDataset", "monai.data.PersistentDataset",
}  # fmt: skip
MUST_HAVE = {"torch.load": ("weights_only", True), "jinja2.Environment": ("autoescape", True)}
MUST_NOT_HAVE = ("allow_pickle", "shell", "unsafe_allow_html", "trust_remote_code", "unsafe_allow_javascript")


def unsafe(source: str) -> Iterator[str]:
    """Each import or call that could execute what it reads, or that speaks to a network."""
    tree = ast.parse(source)
    full = {}  # what a name stands for: `from torch import load as fetch` makes fetch torch.load
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module in FORBIDDEN_MODULES or module.partition(".")[0] in FORBIDDEN_MODULES:
                yield f"import {module}"
            if module in FORBIDDEN_CALLS:
                yield module
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        name = ".".join(filter(None, [full.get(head, head), rest]))
        given = {word.arg: getattr(word.value, "value", ...) for word in node.keywords}
        if name in FORBIDDEN_CALLS or (name in MUST_HAVE and given.get(MUST_HAVE[name][0]) is not MUST_HAVE[name][1]):
            yield name
        yield from (f"{name} {word}" for word in MUST_NOT_HAVE if given.get(word) not in (None, False))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_executes_what_it_reads(file: Path) -> None:
    found = list(unsafe(file.read_text(encoding="utf-8")))
    if file == ROOT / "training/cards/model_card.py":  # Markdown: its filters escape what users wrote, HTML too
        found.remove("jinja2.Environment")
    if file == ROOT / "datasets/film/dicomweb.py":  # the archive of --dicomweb
        found = [name for name in found if name not in ("import requests", "import urllib3")]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import urllib.request", "from urllib import request",
        "import http.client", "eval('1')", "import os\nos.system('x')", "import torch\ntorch.load(f)",
        "from torch import load as fetch\nfetch(f)",
        "import torch as t\nt.load(f, weights_only=False)", "import torch\ntorch.load(f, weights_only=chosen)",
        "import numpy as np\nnp.load(f, allow_pickle=True)", "import yaml\nyaml.load(f, Loader=x)",
        "import subprocess\nsubprocess.run('x', shell=True)", "import joblib\njoblib.load(f)", "pd.read_pickle(f)",
        "from monai.data import PersistentDataset", "import jinja2\njinja2.Environment(loader=x)",
        "st.markdown(x, unsafe_allow_html=True)", "from os import system as s\ns('x')",
    ],
)  # fmt: skip
def test_unsafe_source_is_found(source: str) -> None:
    assert list(unsafe(source))


def test_safe_source_is_not_found() -> None:
    source = "import torch, yaml\nmodel.eval()\ntorch.load(f, weights_only=True)\nyaml.safe_load(f)\nre.compile(x)"
    assert not list(unsafe(source))


def test_the_app_listens_to_this_machine_alone_and_reports_to_nobody() -> None:
    config = tomllib.loads((ROOT / "app/.streamlit/config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "127.0.0.1" and config["server"]["enableXsrfProtection"]
    assert config["server"]["maxUploadSize"] <= 50 and config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


def test_no_direct_dependency_is_gpl() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    seen = 0
    for name in {re.split(r"[^\w.-]", line)[0] for line in wanted}:
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:  # of an extra
            continue
        licence = [about.get("License-Expression") or "", (about.get("License") or "").partition("\n")[0]]
        licence += [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
        assert not re.search(r"GPL|General Public|Affero", " ".join(licence)), f"{name}: {licence}"
        seen += any(licence)
    assert seen >= 25


def test_versions_that_unpickled_are_not_allowed() -> None:
    """torch below 2.10 (CVE-2026-24747), MONAI below 1.5.1, pyarrow below 14.0.1, pydicom below 3.0.2 (DICOMDIR)."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    floors = {
        name: tuple(map(int, low.split(".")))
        for name, _, low in (line.partition(";")[0].partition(">=") for line in wanted)
    }
    for name, lowest in (("torch", (2, 10)), ("monai", (1, 5, 1)), ("pyarrow", (14, 0, 1)), ("pydicom", (3, 0, 2))):
        assert floors[name] >= lowest, name
