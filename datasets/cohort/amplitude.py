"""Low-frequency amplitudes of a training film, mixed with those of a training film of another source.

The amplitudes of a film's low spatial frequencies carry exposure, contrast and large-scale shading, which differ between
hospitals; the phases carry where things are (1, 2). A film that keeps its phases and takes some of the amplitudes of other
sources has a contrast that tells less of its source.

1. Yang and Soatto, FDA: Fourier Domain Adaptation for Semantic Segmentation, CVPR 2020: the amplitudes of a low-frequency
   square are replaced by those of an image of the target domain.
2. Xu, Zhang, Zhang, Wang and Tian, A Fourier-based Framework for Domain Generalization, CVPR 2021: "amplitude mix", with a
   weight drawn uniformly for each image, over the whole spectrum.

From (1) is the limit to low frequencies, here a disc, so that all directions are treated alike; from (2) that two training
images are mixed by a random weight. Donors are of other sources always; the consistency loss of (2) is left out.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

RADIUS = 0.15  # cycles per pixel of the resized film, that is, a fraction of the sampling frequency; 0.5 is Nyquist's
STREAM = 1  # sets its random numbers apart from others that are drawn from the same (seed, epoch, position)


def mix_amplitude(
    films: Float[Tensor, "n c height width"],
    donors: Float[Tensor, "n c height width"],
    weight: Float[Tensor, " n"],
    radius: float = RADIUS,
) -> Float[Tensor, "n c height width"]:
    """The films with amplitude (1 - w) own + w donor where sqrt(fx² + fy²) < radius, and their own phases.

    A frequency that a film lacks has no phase to keep, and stays as it is: a film of one grey changes its grey alone.

    Args:
        films: pixels in [0, 1]; channels are mixed one by one. In half precision they are mixed in float32.
        weight: w of each film, from 0 to 1.
        radius: in cycles per pixel.

    Returns:
        Pixels clipped to [0, 1], in the type of `films`.
    """
    height, width = films.shape[-2:]
    exact = torch.promote_types(films.dtype, torch.float32)
    spectrum = torch.fft.rfft2(films.to(exact))
    own, others = spectrum.abs(), torch.fft.rfft2(donors.to(exact)).abs()
    down = torch.fft.fftfreq(height, dtype=exact, device=films.device)[:, None]
    across = torch.fft.rfftfreq(width, dtype=exact, device=films.device)
    low = down.square() + across.square() < radius**2
    present = own > torch.finfo(exact).eps * height * width  # above what rounding leaves
    mixed = own.lerp(others, weight.to(films.device, exact).view(-1, 1, 1, 1))
    spectrum = torch.polar(torch.where(low & present, mixed, own), spectrum.angle())
    return torch.fft.irfft2(spectrum, s=(height, width)).clamp(0, 1).to(films.dtype)


class AmplitudeMixing:
    """Which training films are mixed, with what.

    The donor's source is drawn first, uniformly among the other sources, so that a small one gives as often as a large one;
    then a film of it, whatever its label. What is drawn depends on the film's source, the seed, the epoch and the position in
    the epoch alone, much as for `Augmentation`.

    Args:
        probability: that a film is mixed.
        positions: in the cohort, of the training films; donors are among them.
        bias: source of each of them.

    Raises:
        ValueError: all training films are of one source.
    """

    def __init__(self, probability: float, positions: np.ndarray, bias: np.ndarray) -> None:
        self.probability = probability
        self.by_source = {int(source): positions[bias == source] for source in np.unique(bias)}
        if len(self.by_source) < 2:
            raise ValueError(
                f"--mix-amplitude {probability:g} takes amplitudes of films of another source, and all training films are of "
                "one: leave the flag out, or add films of a second source"
            )

    def draw(self, source: int, seed: int, epoch: int, position: int) -> tuple[int, float] | None:
        """The donor's position in the cohort and its weight, for a film of this source; None where it is not mixed."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, epoch, position], spawn_key=(STREAM,)))
        if rng.random() >= self.probability:
            return None
        weight = float(rng.random())
        others = [films for other, films in self.by_source.items() if other != source]
        return int(rng.choice(others[rng.integers(len(others))])), weight
