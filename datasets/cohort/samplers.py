"""The order of an epoch: batches that hold the cross-source pairs EnD needs, resumable at any position.

An order is a function of (seed, epoch) alone. An epoch is every training film once (unless groups are balanced or films
repeated), in batches of one size; the films that would make a smaller last batch wait for the next epoch, whose order is
another.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from datasets.cohort.confounding import count_pairs
from datasets.cohort.films import Draw
from datasets.cohort.groups import balanced_groups


class EpochSampler(Sampler[list[Draw]]):
    """Batches of `Draw`s for `torch.utils.data.DataLoader(batch_sampler=...)`.

    `random` is a plain permutation. `paired` deals each (target, bias) group out evenly over the epoch, and where a batch
    still has no pair of one target across biases although the films have one, gives its last place to a film that makes
    one, or its last two to a pair where no single film can: those films are then seen more than once in the epoch, the
    ones they displace not at all. Of several biases a group is their crossing, and each sees to its own pairs, the second
    in the places before those of the first. `balanced` resamples: every batch shows each of `groups.balanced_groups`
    equally often, to within one film, and draws them with replacement from the group; an epoch has as many batches as in
    the other orders.

    `repeats`, for `random` alone, is how often each film is dealt in an epoch, which is as much longer.

    Over several processes an order is of their batches together, of which each hands out its own part: films and pairs are
    those of one process with the whole batch. `parts` is what each process cuts its part into; batches of fewer films than
    asked for (because there are no more) are made smaller until all parts are equal.

    Set `epoch` before each pass; `start` is the first batch handed out, for going on in mid-epoch.
    """

    def __init__(
        self,
        positions: np.ndarray,
        target: np.ndarray,
        bias: np.ndarray,
        batch_size: int,
        seed: int,
        order: str = "paired",
        repeats: np.ndarray | None = None,
        rank: int = 0,
        ranks: int = 1,
        parts: int = 1,
    ) -> None:
        if repeats is not None and order != "random":
            raise ValueError(f"order {order!r} deals no film more often than another: repeats need order 'random'")
        if len(positions) < 2:
            raise ValueError(f"{len(positions)} training films: at least 2 are needed")
        if batch_size % (ranks * parts):
            processes, pieces = f" over {ranks} processes" * (ranks > 1), f" in {parts} parts each" * (parts > 1)
            raise ValueError(
                f"--batch-size {batch_size} can't be shared out evenly{processes}{pieces}: take a multiple of {ranks * parts}"
            )
        if len(positions) < ranks * parts:
            raise ValueError(f"{len(positions)} training films are fewer than {ranks} processes of {parts} parts")
        self.positions, self.target = positions, target
        self.biases = bias.reshape(len(bias), -1).T  # a row an attribute
        self.cell = np.unique(np.vstack([target, self.biases]), axis=1, return_inverse=True)[
            1
        ]  # target x bias crossing
        self.group = balanced_groups(target, bias) if order == "balanced" else self.cell
        self.batch_size = min(batch_size, len(positions) // (ranks * parts) * ranks * parts)
        self.rank, self.share = rank, self.batch_size // ranks
        self.seed, self.order = seed, order
        self.films = np.repeat(np.arange(len(positions)), 1 if repeats is None else repeats)
        self.epoch = self.start = 0
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch asked for last

    def __len__(self) -> int:
        return len(self.films) // self.batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        mine = slice(self.rank * self.share, (self.rank + 1) * self.share)
        batches = self.batches(self.epoch)
        for number in range(self.start, len(batches)):
            first = number * self.batch_size + mine.start
            films = self.positions[batches[number, mine]]
            yield [Draw(int(film), self.epoch, first + place) for place, film in enumerate(films)]

    def batches(self, epoch: int) -> np.ndarray:
        """Indices into `positions` of an epoch, batches x batch size, of all processes."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._drawn(epoch)
        return self._order[1]

    def _drawn(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        if self.order == "balanced":
            return self._balanced(rng)
        order = rng.permutation(self.films) if self.order == "random" else self._dealt(rng)
        batches = order[: len(self) * self.batch_size].reshape(len(self), self.batch_size)
        for number, bias in enumerate(self.biases if self.order == "paired" else ()):
            free = self.batch_size - 2 * number
            for batch in batches if free > 1 and count_pairs(self.target, bias).entangling else ():
                if not count_pairs(self.target[batch], bias[batch]).entangling:
                    self._pair_up(batch[:free], bias, rng)
        return batches

    def pairs(self, batch: np.ndarray) -> np.ndarray:
        """Pairs of R_perp and R_par, attributes x 2, among these films, given as indices into `positions`."""
        return np.array([count_pairs(self.target[batch], bias[batch]) for bias in self.biases], dtype=np.int64)

    def _dealt(self, rng: np.random.Generator) -> np.ndarray:
        """Every group spread evenly: the k-th of its n films sits near fraction (k + u) / n of the epoch."""
        order = rng.permutation(len(self.positions))
        place = np.empty(len(order))
        for value in np.unique(self.cell):
            members = order[self.cell[order] == value]
            place[members] = (np.arange(len(members)) + rng.random()) / len(members)
        return np.argsort(place + 1e-9 * rng.random(len(place)))

    def _balanced(self, rng: np.random.Generator) -> np.ndarray:
        """Groups taken in turn, in one order for the whole epoch, so that neither a batch nor the epoch favours any."""
        groups = [np.flatnonzero(self.group == value) for value in np.unique(self.group)]
        turns = np.resize(rng.permutation(len(groups)), len(self) * self.batch_size)
        chosen = np.empty(len(turns), dtype=np.intp)
        for number, members in enumerate(groups):
            mine = turns == number
            chosen[mine] = rng.choice(members, mine.sum())
        return chosen.reshape(len(self), self.batch_size)

    def _pair_up(self, batch: np.ndarray, bias: np.ndarray, rng: np.random.Generator) -> None:
        """Put a film that makes a pair with one of the batch in its last place, else a pair in its last two."""
        partners = self._partners(batch[:-1], bias)
        if not len(partners):
            shared = [value for value in np.unique(self.target) if len(np.unique(bias[self.target == value])) > 1]
            batch[-2] = rng.choice(np.flatnonzero(np.isin(self.target, shared)))
            partners = self._partners(batch[-2:-1], bias)
        batch[-1] = rng.choice(partners)

    def _partners(self, batch: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Films with the target of one of the batch, which holds no pair, and another bias."""
        makes_pair = np.zeros(len(self.positions), dtype=bool)
        for film in batch:
            makes_pair |= (self.target == self.target[film]) & (bias != bias[film])
        return np.flatnonzero(makes_pair)
