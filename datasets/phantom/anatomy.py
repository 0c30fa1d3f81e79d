"""The patient of a phantom film: anatomy and disease as a map of attenuation, before any hospital has touched it.

Body less air, plus bone and vessels; disease fills air, so vessels and ribs show through it. One small function a
structure, each a smooth formula over the film's coordinates, so that a patient is the same at every size. Coordinates:
x from -1 (image left, the patient's right) to 1, y from -1 (top) to 1; attenuation: 1 is the trunk without air.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

_PATIENT, _EXAM, _DISEASE = range(3)  # one random stream each; phantom.py counts on from 3


@dataclass(frozen=True)
class Person:
    """One patient at one exposure: what the table tells (age in years) and what the drawing needs."""

    sex: str
    age: int
    view: str
    shape: tuple[float, ...]  # 24 standard normal numbers: how this patient differs from the mean
    pose: tuple[float, ...]  # 7 of them, for how this exposure differs from the patient's other one


@dataclass(frozen=True)
class _Grid:
    x: np.ndarray  # size x size, the patient's midline at 0
    y: np.ndarray  # size x 1
    side: np.ndarray  # size x size, |x|
    cage: np.ndarray  # size x 1, half-width of the chest's inside


def attenuation(seed: int, index: int, label: str, size: int) -> np.ndarray:
    """Draws what lies between tube and detector: size x size, float32, from 0 (air outside) to about 1.4 (spine)."""
    person = person_of(seed, index)
    grid = _posed(size, person)
    rng = np.random.default_rng([_PATIENT, seed, patient_of(index), 1])
    lungs, solid = _lungs(grid, person, rng), _mediastinum(grid, person)
    disease = np.random.default_rng([_DISEASE, seed, patient_of(index)])
    air = 0.74 * lungs * (1 - 0.88 * solid)
    vessels = _vessels(grid, rng) * lungs * (1 - 0.8 * solid)
    total = _body(grid, person, rng) - air * (1 - _filled(grid, person, label, disease)) + vessels
    total += _spine(grid, person) + _ribs(grid, person) + _shoulder_girdle(grid, person) - _gas(grid, person)
    return total + _breasts(grid, person) if person.sex == "F" else total


def patient_of(index: int) -> int:
    """The patient of a film: films 0 and 1 are of patient 0, film 2 is of patient 1, films 3 and 4 of patient 2."""
    return 2 * (index // 3) + (index % 3 == 2)


def person_of(seed: int, index: int) -> Person:
    """The patient of a film, as this film finds them; independent of the label."""
    rng = np.random.default_rng([_PATIENT, seed, patient_of(index)])
    sex = "F" if rng.random() < 0.47 else "M"
    age = int(np.clip(rng.normal(58, 16), 18, 94))
    view = "PA" if rng.random() < 0.6 else "AP"
    shape = np.clip(rng.standard_normal(24), -2, 2).tolist()  # Python floats: numpy's would make every array float64
    pose = np.clip(np.random.default_rng([_EXAM, seed, index]).standard_normal(7), -2, 2).tolist()
    return Person(sex, age, view, tuple(shape), tuple(pose))


@lru_cache(maxsize=8)
def pixel_centres(size: int) -> np.ndarray:
    """Coordinates of a row's pixels, -1 to 1, float32."""
    return ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)


@lru_cache(maxsize=64)
def _basis(cells: int, size: int) -> np.ndarray:
    """Cubic B-splines, size x cells: turns a coarse random grid into a smooth field with two small products."""
    return _splines(np.linspace(0.5, cells - 1.5, size), cells)


def _splines(at: np.ndarray, cells: int) -> np.ndarray:
    d = np.abs(at[:, None] - np.arange(cells))
    weights = np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.clip(2 - d, 0, None) ** 3 / 6)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _outline(y: np.ndarray, knots: Sequence[float]) -> np.ndarray:
    """A smooth border: its distance from the midline at each height, from knots evenly spaced over y in [-1, 1]."""
    at = (np.clip(y[:, 0], -1, 1) + 1) * (len(knots) - 1) / 2
    return (_splines(at, len(knots)) @ np.array(knots, np.float32))[:, None]


def _noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise of about unit variance; the same picture at every size."""
    basis = _basis(cells, size)
    return 2 * basis @ rng.standard_normal((cells, cells), dtype=np.float32) @ basis.T


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((values - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def _ellipsoid(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    """Thickness of an ellipsoid seen from the front, 1 at its middle; x and y are distances from that."""
    u, v = x / rx, y / ry
    return np.sqrt(np.clip(1 - u * u - v * v, 0, None))


def _posed(size: int, person: Person) -> _Grid:
    """The patient's coordinates of each pixel: off-centre, zoomed and leaning a little, as people stand."""
    zoom = 1 + 0.05 * person.shape[0] + 0.02 * person.pose[0]
    y = (pixel_centres(size)[:, None] - 0.03 * person.pose[1]) * zoom
    x = (pixel_centres(size)[None, :] - 0.03 * person.pose[2]) * zoom - 0.02 * person.pose[3] * y
    return _Grid(x, y, np.abs(x), _cage(y, person))


def _cage(y: np.ndarray, person: Person) -> np.ndarray:
    """Half-width of the chest's inside at each height: a column, narrow at the apices."""
    knots = (0.26, 0.44, 0.57, 0.65, 0.69, 0.73, 0.76, 0.78, 0.78, 0.76, 0.72)
    return _outline(y, knots) * (1 + 0.03 * person.shape[1]) + 0.02 * person.shape[4] * ramp(y, -0.4, 0.5)


def _body(grid: _Grid, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Soft tissue: trunk, neck, shoulders and the start of the arms, uneven as fat and muscle are."""
    y, side = grid.y, grid.side
    u = side / (0.93 + 0.04 * person.shape[2] + 0.05 * ramp(y, 0.2, 1.0))
    u *= u
    trunk = np.sqrt(np.clip(1 - u * u, 0, None)) * ((0.94 + 0.12 * ramp(y, 0.1, 0.9)) * ramp(y, -1.15, -0.5))
    slope = -0.97 + 0.04 * person.shape[3] + 0.34 * np.clip(grid.side - 0.26, 0, None)
    shoulders = (0.78 - 0.16 * side) * ramp(y - slope, -0.02, 0.24) * (1 - ramp(y + 0.6 * side, -0.2, 0.65))
    gap = 0.95 + 0.04 * person.shape[4] + 0.12 * ramp(y, -0.4, 0.9)
    arms = 0.5 * ramp(side - gap, 0, 0.12) * ramp(y + 0.4 * side, -0.5, 0.3)
    neck = 0.80 * _ellipsoid(grid.x, np.zeros_like(y), 0.29, 1) * (1 - ramp(y, -0.95, -0.55))
    body = np.maximum(np.maximum(trunk, arms), np.maximum(shoulders, neck))
    return body * (1 + (0.02 + 0.02 * ramp(y, 0.3, 0.6)) * _noise(rng, 11, len(y)))


def _lungs(grid: _Grid, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Air thickness of both lungs, 0 to 1: full in the middle, thin at the wall, cut below by the domes."""
    y, side = grid.y, grid.side
    wall = (grid.cage - side) * np.where(grid.x < 0, np.float32(1.0), np.float32(1.04))
    inner = _outline(y, (0.16, 0.14, 0.10, 0.08, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06))
    depth = 1 - np.exp(np.clip(wall, 0, None) * -9)
    apex = (side - 0.29) * 1.5
    depth *= ramp(y - apex * apex, -0.83, -0.70 + 0.02 * person.shape[3])
    air = depth * ramp(side - inner, -0.01, 0.10) * ramp(_dome(grid, person) - y, -0.006, 0.03)
    uneven = 1 + 0.05 * _noise(rng, 7, len(y)) + 0.035 * _noise(rng, 60, len(y))
    return air * uneven * (0.84 + 0.16 * ramp(-y, -0.4, 0.5))


def _dome(grid: _Grid, person: Person) -> np.ndarray:
    """Height of the diaphragm over each pixel; the right one is higher, both fall to the costophrenic angles."""
    level = 0.53 + 0.05 * person.shape[6] + 0.03 * person.pose[4] - (0.06 if person.view == "AP" else 0.0)
    gap = 0.06 + 0.02 * person.shape[7]
    off = grid.side - 0.38
    fall = off * off * np.where(off > 0, np.float32(1.6 + 0.2 * person.shape[5]), np.float32(1.1))
    return fall + np.where(grid.x < 0, np.float32(level - gap), np.float32(level))


def _mediastinum(grid: _Grid, person: Person) -> np.ndarray:
    """Heart, great vessels and aortic knob, 0 to 1; the heart leans to the patient's left, the image right."""
    shape, y = person.shape, grid.y
    large = (1.10 if person.view == "AP" else 1.0) * (1 + 0.08 * shape[8]) + 0.002 * (person.age - 58)
    knob = 0.02 + 0.03 * shape[10] + 0.0012 * (person.age - 58)
    lower = 0.03 * shape[9]  # an upright or a lying heart
    left = [0.10, 0.09, 0.085, 0.09, 0.10, 0.11, 0.13 + knob, 0.17 + knob, 0.13, 0.14, 0.17]
    apex = (0.23 - lower, 0.33 - lower, 0.40, 0.45 + lower, 0.47 + lower, 0.45, 0.38, 0.3, 0.2, 0.2)
    left += [large * at for at in apex]
    right = [0.10, 0.09, 0.085, 0.09, 0.10, 0.11, 0.115, 0.11, 0.11, 0.12, 0.15]
    right += [large * at for at in (0.19, 0.22, 0.23, 0.225, 0.20, 0.17, 0.15, 0.15, 0.15, 0.15)]
    inside = np.minimum(_outline(y, left) - grid.x, _outline(y, right) + grid.x)
    return (1 - np.exp(np.clip(inside, 0, None) * -30)) * (0.78 + 0.22 * ramp(y, -0.5, -0.1))


def _spine(grid: _Grid, person: Person) -> np.ndarray:
    """Vertebral bodies, discs, pedicles and spinous processes, less the air of the trachea."""
    y, x = grid.y, grid.x
    across = grid.side / (0.078 + 0.014 * ramp(y, -0.6, 0.9))
    phase = 2 * np.pi * (y + 0.02 * person.shape[11]) / (0.125 + 0.02 * ramp(y, -0.8, 0.8))
    body, pedicle, process = (0.5 + 0.5 * np.cos(phase + shift) for shift in (0.0, 0.9, 2.4))
    bone = (0.07 + 0.06 * body) * (1 - ramp(across, 0.85, 1.2))
    bone += 0.06 * pedicle * np.exp(-(((across - 0.62) * 6) ** 2)) + 0.05 * process * np.exp(-((x * 65) ** 2))
    pipe = ((x + 0.012 + 0.02 * ramp(y, -0.7, -0.2)) * 24) ** 2
    return bone - 0.17 * np.exp(-pipe * pipe) * (1 - ramp(y, -0.28, -0.14))


@lru_cache(maxsize=1)
def _rib_profile() -> np.ndarray:
    """Cross-section of a rib and the gap below it over one period, 256 steps: cortex brighter than marrow."""
    at = np.linspace(0, 1, 256, endpoint=False)
    flat = ramp(at, 0.20, 0.30) * (1 - ramp(at, 0.58, 0.66))
    rims = np.exp(-(((at - 0.29) / 0.05) ** 2)) + 1.5 * np.exp(-(((at - 0.59) / 0.045) ** 2))
    return (0.65 * flat + 0.45 * rims).astype(np.float32)


def _ribs(grid: _Grid, person: Person) -> np.ndarray:
    """All posterior and anterior arcs at once: the ribs are level lines of a phase that sags to the side."""
    y, profile = grid.y, _rib_profile()
    u = np.minimum(grid.side / (grid.cage + 0.01), 1.2)
    square = u * u
    sixth = square * square * square
    spacing = 0.142 + 0.006 * person.shape[12]
    sag = (0.21 + 0.03 * person.shape[13]) * square + 0.12 * sixth - 0.06 * u + 0.012 * person.shape[14] * grid.x
    back = profile[((y - sag + 3) * (256 / spacing)).astype(np.int32) & 255]
    rise = 0.42 * square - 3 - 0.03 * person.shape[15]
    front = profile[((y + rise + 6) * (200 / spacing)).astype(np.int32) & 255]
    rows = ramp(y, -0.92, -0.8) * (1 - 0.75 * ramp(y, 0.5, 0.8))
    back *= (0.085 + 0.05 * sixth) * ramp(grid.side, 0.08, 0.14) * rows
    front *= 0.05 * ramp(u, 0.38, 0.8) * (ramp(y, -0.62, -0.5) * (1 - ramp(y, 0.45, 0.65)))
    return (back + front) * (1 - ramp(u, 1.0, 1.05))


def _shoulder_girdle(grid: _Grid, person: Person) -> np.ndarray:
    """Clavicles, the edges of the scapulae, the heads and shafts of the humeri."""
    y, side = grid.y, grid.side
    lift = 0.07 if person.view == "AP" else 0.0
    s = (side - 0.065) * (1 / 0.74)
    middle = -0.55 - lift + 0.03 * person.shape[16] - (0.19 + 0.04 * person.shape[23]) * s
    middle += 0.026 * np.sin(2 * np.pi * s + 2.8) + 0.05 * person.pose[5] * grid.x
    across = np.abs(y - middle) / (0.024 + 0.014 * (2 * s - 1) ** 2)
    shaft = 1 - ramp(across, 0.8, 1.2) + 0.5 * np.exp(-(((across - 0.8) * 4.5) ** 2))
    bone = 0.11 * shaft * ramp(s, 0.0, 0.06) * (1 - ramp(s, 0.92, 1.02))
    off = side - (0.69 if person.view == "PA" else 0.61) - 0.02 * person.shape[17] - 0.14 * (y + 0.3)
    blade = (0.05 * ramp(off, -0.01, 0.012) + 0.04 * np.exp(-((off * 70) ** 2))) * (1 - ramp(off, 0.10, 0.2))
    bone += blade * (ramp(y, -0.66, -0.5) * (1 - ramp(y, -0.1, 0.1)))
    humerus = 0.9 * (1 - ramp(np.abs(side - 1.0 - 0.12 * (y + 0.5)), 0.04, 0.07)) * ramp(y, -0.62, -0.4)
    return bone + 0.13 * np.maximum(humerus, np.minimum(1, 1.5 * _ellipsoid(side - 0.94, y + 0.60 + lift, 0.12, 0.13)))


def _breasts(grid: _Grid, person: Person) -> np.ndarray:
    """A veil over each lower zone, thickest at its lower edge; thin in some."""
    large, low = 0.32 + 0.04 * person.shape[18], 0.46 + 0.07 * person.shape[19]
    mound = np.minimum(1, 1.4 * _ellipsoid(grid.side - 0.47, grid.y - low + large, large, large))
    return (0.09 + 0.035 * person.shape[20]) * mound * ramp(grid.y, low - 0.55, low)


def _gas(grid: _Grid, person: Person) -> np.ndarray:
    """The stomach bubble under the left dome, in some with a fluid level; not in all."""
    if person.shape[21] < 0:
        return np.zeros_like(grid.x)
    y = grid.y - 0.68 - 0.05 * person.shape[6] + 0.12 * (grid.x - 0.36)
    bubble = np.minimum(1, 1.5 * _ellipsoid(grid.x - 0.36, y, 0.13 + 0.03 * person.shape[22], 0.085))
    return (0.24 + 0.05 * person.shape[20]) * bubble * (1 - 0.9 * ramp(y, 0.02, 0.045))


def _vessels(grid: _Grid, rng: np.random.Generator) -> np.ndarray:
    """Two branching trees from the hila, thinner at every fork: splatted as points, then blurred to their calibre."""
    size = len(grid.y)
    x0, y0, step = float(grid.x[0, 0]), float(grid.y[0, 0]), float(grid.x[0, 1] - grid.x[0, 0])
    lean = float((grid.x[-1, 0] - x0) / (grid.y[-1, 0] - y0))
    side = np.repeat([-1.0, 1.0], 11)
    angle = np.tile(np.linspace(-1.4, 1.45, 11), 2) + rng.normal(0, 0.1, 22)
    x, y = side * rng.normal(0.15, 0.015, 22), np.where(side < 0, 0.0, -0.05) + 0.06 * np.sin(angle)
    length, width = rng.uniform(0.11, 0.20, 22), rng.uniform(0.10, 0.17, 22)
    along = np.linspace(0, 1, 12)
    total = np.zeros((size, size), np.float32)
    cells, weights = [], []
    for fork in range(5):
        bend = np.outer(rng.normal(0, 0.15, len(x)) * length, along * (1 - along))
        across, down = length * np.cos(angle), length * np.sin(angle)
        px = x[:, None] + side[:, None] * (np.outer(across, along) - bend * np.sin(angle)[:, None])
        py = y[:, None] + np.outer(down, along) + bend * np.cos(angle)[:, None]
        column = np.clip((px - x0 - lean * (py - y0)) / step + 0.5, 0, size - 1).astype(np.int64)
        row = np.clip((py - y0) / step + 0.5, 0, size - 1).astype(np.int64)
        cells.append((row * size + column).ravel())
        weights.append(np.repeat(width * length / 12, 12))
        if fork in (1, 4):
            sigma = 0.013 if fork == 1 else 0.006
            spread = np.bincount(np.concatenate(cells), np.concatenate(weights), size * size).reshape(size, size)
            blurred = gaussian_filter(spread.astype(np.float32), max(sigma / step, 0.4), truncate=2.5)
            total += blurred * (2.5 * sigma / step**2)
            cells, weights = [], []
        x, y, side, width = (np.repeat(a, 2) for a in (px[:, -1], py[:, -1], side, 0.74 * width))
        angle = np.repeat(angle, 2) + np.tile([-1, 1], len(angle)) * rng.uniform(0.1, 0.5, len(x))
        length = np.repeat(length, 2) * rng.uniform(0.65, 1.0, len(x))
    for centre, level in ((-0.19, 0.02), (0.19, -0.03)):
        total += 0.10 * np.exp(-(((grid.x - centre) / 0.06) ** 2)) * np.exp(-(((grid.y - level) / 0.10) ** 2))
    return total


def _filled(grid: _Grid, person: Person, label: str, rng: np.random.Generator) -> np.ndarray:
    """The part of the air that is filled, 0 to about 0.85."""
    if label == "normal":
        return np.zeros_like(grid.x)
    return _ground_glass(grid, person, rng) if label == "covid" else _consolidation(grid, person, rng)


def _ground_glass(grid: _Grid, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Patchy, soft-edged, bilateral, peripheral and mostly low; a second film shows it better or worse."""
    size = len(grid.y)
    severity = 0.10 + 0.42 * rng.beta(1.5, 1.9) + 0.04 * person.pose[6]
    count = int(rng.integers(6, 12))
    sides = np.where(np.arange(count) % 2 == rng.integers(2), -1.0, 1.0)
    y = -0.34 + 0.84 * rng.beta(2.4, 1.4, count)
    x = sides * np.interp(y, grid.y[:, 0], grid.cage[:, 0]) * rng.uniform(0.60, 0.92, count)
    rx, ry, strength = rng.uniform(0.09, 0.18, count), rng.uniform(0.09, 0.20, count), rng.uniform(0.4, 1.0, count)
    across = np.exp(-(((grid.x[size // 2] - x[:, None]) / rx[:, None]) ** 2))
    down = np.exp(-(((grid.y[:, 0] - y[:, None]) / ry[:, None]) ** 2)) * strength[:, None]
    ragged = (down.T @ across).astype(np.float32) * np.exp(0.45 * _noise(rng, 14, size) + 0.25 * _noise(rng, 26, size))
    cloud = 1 - np.exp(-1.7 * ragged)
    return np.clip(1.2 * severity * cloud * (1 + 0.22 * _noise(rng, 56, size)), 0, 0.8)


def _consolidation(grid: _Grid, person: Person, rng: np.random.Generator) -> np.ndarray:
    """One lobe of one lung, denser than ground glass, sharp where a fissure bounds it."""
    size = len(grid.y)
    side = -1.0 if rng.random() < 0.55 else 1.0
    y = float(rng.choice([-0.36, 0.05, 0.36])) + rng.normal(0, 0.03)
    severity = 0.26 + 0.46 * rng.beta(1.5, 1.6) + 0.05 * person.pose[6]
    across = (grid.x - side * rng.uniform(0.28, 0.46)) / rng.uniform(0.19, 0.30)
    down = (grid.y - y) / rng.uniform(0.14, 0.22)
    edge = across * across + down * down + 0.45 * _noise(rng, 8, size) + 0.20 * _noise(rng, 24, size)
    field = 1 - ramp(edge, 0.1, 1.9)
    if y < 0.2:  # the upper and middle lobes end at a fissure, the lower lobe at the diaphragm
        field *= 1 - 0.8 * ramp(grid.y - y - 0.10 - 0.12 * (grid.side - 0.4), -0.012, 0.012)
    return np.clip(severity * field * (1 + 0.12 * _noise(rng, 40, size)), 0, 0.85) * (grid.x * side > 0)
