"""The groups that balanced batches draw equally often: target x bias, and of several biases their crossing.

A crossing of few films would be the same films again and again. One of fewer than `FEWEST` joins the next larger one of the
same target and the biases before, so that it is the later biases that give way; target and first bias always part films.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Int

from datasets.listed import listed

FEWEST = 5
NAMED = 5  # crossings that a sentence names
OFTEN = 10  # times an epoch that a film may be drawn without a word


def balanced_groups(target: Int[np.ndarray, " films"], bias: np.ndarray) -> Int[np.ndarray, " films"]:
    """The number of each film's group, from 0, in the order of target and biases.

    Args:
        bias: films, or films x attributes, the first mattering most.
    """
    first, *others = bias.reshape(len(target), -1).T
    group = _crossed(target, first)
    for values in others:
        cell = _crossed(group, values)
        for whole in np.unique(group):
            parts, films = np.unique(cell[group == whole], return_counts=True)
            for small, larger in pairwise(parts[np.argsort(films, kind="stable")]):
                if (cell == small).sum() < FEWEST:
                    cell[cell == small] = larger
            left, films = np.unique(cell[group == whole], return_counts=True)
            if len(left) > 1 and films.min() < FEWEST:  # the largest of all, which had no larger one to join
                smallest, next_one = left[np.argsort(films, kind="stable")][:2]
                cell[cell == smallest] = next_one
        group = np.unique(cell, return_inverse=True)[1]
    return group


def joined_crossings(target: np.ndarray, bias: np.ndarray, names: list[tuple[str, ...]]) -> str:
    """Which crossings are no groups of their own, in a sentence; empty where all are, or none has films.

    Args:
        names: of the targets, then of the values of each attribute.
    """
    group = balanced_groups(target, bias)
    cells = np.column_stack([target, bias])
    crossings, cell, films = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    small = []
    for value in np.unique(group):
        together = np.unique(cell[group == value])
        small += [number for number in together if len(together) > 1 and number != together[films[together].argmax()]]
    if not small:
        return ""
    told = [f"{' '.join(of[i] for of, i in zip(names, crossings[n], strict=True))} ({films[n]})" for n in small]
    return (
        f"Balanced batches draw {group.max() + 1} groups equally often. Crossings of fewer than {FEWEST} films are drawn "
        f"with the next larger one of their label: {listed(told, NAMED)}."
    )


def repeated_groups(target: np.ndarray, bias: np.ndarray, names: list[tuple[str, ...]], bias_name: str) -> str:
    """Whose films balanced batches draw more than `OFTEN` times an epoch, in a sentence; empty for none.

    Args:
        names: of the targets, then of the values of the first bias; others may follow.
        bias_name: what the first bias is called.
    """
    numbers, first, films = np.unique(balanced_groups(target, bias), return_index=True, return_counts=True)
    times = len(target) / len(numbers) / films
    often = np.flatnonzero(times > OFTEN)
    if not len(often):
        return ""
    bias = bias.reshape(len(target), -1)[:, 0]
    told = [
        f"{names[0][target[first[n]]]} {names[1][bias[first[n]]]} ({films[n]} film{'s' if films[n] > 1 else ''}, each about "
        f"{times[n]:.0f} times)"
        for n in often
    ]
    return (
        f"Balanced batches draw {len(numbers)} groups of label and {bias_name} equally often, so films of a small one come "
        f"again and again in an epoch: {listed(told, NAMED)}. Look at them, or keep the groups' sizes with "
        "--sampler paired."
    )


def _crossed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The number of each film's pair of values."""
    return np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].reshape(-1)
