"""What is trained and how: the paper's protocol, one for two CPU cores, and the published numbers that stand beside them.

`full` is Bahng et al. (ReBias, ICML 2020) as Tartaglione et al. (EnD, CVPR 2021) use it. `short` has the same network on
fewer and smaller digits, for fewer epochs with a higher learning rate. What makes the benchmark hard is how many digits
conflict, so a correlation of one protocol answers to that of the other which leaves as many. A table never mixes the two.
"""

from typing import Any, NamedTuple

TUNING_SEED = 100
TRIALS = 8


class Protocol(NamedTuple):
    """A recipe.

    Attributes:
        name: on the command line and in records.
        settings: of `training.run.config.TrainConfig`, beside the preset of Biased MNIST.
        paper: the published correlation with as many conflicting digits, by the correlation that is trained.
    """

    name: str
    settings: dict[str, Any]
    paper: dict[float, float]


# Validation accuracy decides the epoch, as in the paper. AMP is autocast to half precision on CUDA and off on CPUs.
PROTOCOLS = {
    "full": Protocol(
        "full", {"select": "accuracy", "channels_last": True}, {rho: rho for rho in (0.999, 0.997, 0.995, 0.990)}
    ),
    "short": Protocol(
        "short",
        {
            "select": "accuracy", "films": 10_000, "img_size": 14, "epochs": 8, "batch_size": 128, "lr": 4e-3,
            "logit_scale": 10.0, "sched": "cosine", "warmup_epochs": 1,
        },
        {0.982: 0.997, 0.940: 0.990},
    ),
}  # fmt: skip

# Unbiased test accuracy, per cent, mean over the seeds of each paper.
END_TABLE_1 = "Tartaglione et al. 2021, Table 1"
FAIRKL_TABLE_3 = "Barbano et al. 2023, Table 3"
WACV_TABLE_1 = "arXiv 2305.03691, Table 1"
PUBLISHED: dict[str, tuple[str, dict[float, float]]] = {
    "erm": (END_TABLE_1, {0.999: 10.4, 0.997: 33.4, 0.995: 72.1, 0.990: 89.1}),
    "hex": (END_TABLE_1, {0.999: 10.8, 0.997: 16.6, 0.995: 19.7, 0.990: 24.7}),
    "learned_mixin": (END_TABLE_1, {0.999: 12.1, 0.997: 50.2, 0.995: 78.2, 0.990: 88.3}),
    "rubi": (END_TABLE_1, {0.999: 13.7, 0.997: 43.0, 0.995: 90.4, 0.990: 93.6}),
    "rebias": (END_TABLE_1, {0.999: 22.7, 0.997: 64.2, 0.995: 76.0, 0.990: 88.1}),
    "end": (END_TABLE_1, {0.999: 52.3, 0.997: 83.7, 0.995: 93.9, 0.990: 96.0}),
    "bias_balance": (FAIRKL_TABLE_3, {0.999: 76.8, 0.997: 91.2, 0.995: 93.9, 0.990: 96.3}),
    "bias_contrastive": (FAIRKL_TABLE_3, {0.999: 15.1, 0.997: 90.5, 0.995: 96.0, 0.990: 97.7}),
    "fairkl": (FAIRKL_TABLE_3, {0.999: 89.6, 0.997: 94.1, 0.995: 97.0, 0.990: 97.9}),
    "lff": (WACV_TABLE_1, {0.999: 15.3, 0.997: 63.7, 0.995: 90.3, 0.990: 95.1}),
    "soft_contrastive": (WACV_TABLE_1, {0.999: 65.0, 0.997: 88.6, 0.995: 93.1, 0.990: 95.2}),
}
