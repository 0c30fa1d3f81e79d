"""A table of how often something happened in simulated cohorts."""

from rich.table import Table
from scipy.stats import binomtest


def shares_table(counts: dict[str, int], simulations: int) -> Table:
    """Each count as a share of the simulations, with Wilson's interval."""
    table = Table("by", "share", "95 % (Wilson)")
    for name, count in counts.items():
        low, high = binomtest(count, simulations).proportion_ci(method="wilson")
        table.add_row(name, f"{count / simulations:.1%}", f"{low:.1%} to {high:.1%}")
    return table
