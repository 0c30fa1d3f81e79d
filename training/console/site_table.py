"""What site calibration changes, as a table of 80 columns."""

import pandas as pd
from rich.markup import escape
from rich.table import Column, Table

NAMES = {"ece": "calib. error", "brier": "Brier score"}


def site_table(title: str, changes: pd.DataFrame) -> Table:
    """A line for each site and metric; intervals are 95 %, over patients.

    Args:
        changes: from `training.bias.numbers.site_calibration.changes`.
    """
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("model's", "site's", "difference")]
    columns = [
        Column("site", overflow="fold", max_width=20),
        Column("", no_wrap=True),
        *numbers,
        Column("", no_wrap=True),
    ]
    table = Table(*columns, title=escape(title), title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown = list[str]()
    for row in changes.to_dict("records"):
        site, metric, verdict = (
            escape(str(row["site"])),
            NAMES.get(row["metric"], str(row["metric"])),
            str(row["verdict"]),
        )
        name = site if site not in shown else f"{row['patients']} patients" if shown.count(site) == 1 else ""
        shown.append(site)
        if pd.isna(row["difference"]):
            table.add_row(name, metric, "", "", "too few", "")
            continue
        change = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        style = {"better": "green", "worse": "red"}.get(verdict, "")
        table.add_row(name, metric, f"{row['before']:.3f}", f"{row['after']:.3f}", change, verdict, style=style)
    return table
