"""Which attributes of its films a training must not use: columns of the cohort's table, in place of the source alone.

Films of which an attribute is not recorded are a group of it, `unknown`: what is missing can give the label away too.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from datasets.cohort.confounding import Confounding, check_confounding
from datasets.cohort.external import values_of
from datasets.cohort.films import Cohort, CohortError
from datasets.sample import UNKNOWN, Attribute, Split

# Columns of the predictions table that a column of metadata.csv can't take the place of.
TAKEN = ("run", "file", "score", "logit", "prediction")
FILMS_A_VALUE = 2  # fewer on average are no groups


def with_attributes(cohort: Cohort, weights: Mapping[str, float]) -> Cohort:
    """The cohort with these columns as attributes that training must not use, in place of those that it had.

    Args:
        weights: of each column in the loss, see `Attribute`; `age_band` also follows from `age`.

    Raises:
        CohortError: no such column, or one whose values are no groups of films.
    """
    if dict(weights) == {"source": 1.0}:
        return (
            dataclasses.replace(cohort, info=dataclasses.replace(cohort.info, named=()))
            if cohort.info.named
            else cohort
        )
    if dict(weights) == {attribute.name: attribute.weight for attribute in cohort.info.named}:
        return cohort
    table, named = cohort.table.copy(), list[Attribute]()
    for name, weight in weights.items():
        try:
            values = values_of(table, name)
        except CohortError as error:
            raise CohortError(f"--bias: {error}") from None
        if name in TAKEN:
            raise CohortError(f"--bias: column {name} has the name of a result: call it something else in metadata.csv")
        known = sorted(set(values) - {""})
        if name == "age" or len(known) * FILMS_A_VALUE > len(table):
            instead = "age_band" if name == "age" else "one of fewer"
            raise CohortError(
                f"--bias: column {name} has {len(known)} values for {len(table)} films, too many for groups: take {instead}"
            )
        if not known:
            raise CohortError(f"--bias: column {name} is empty for every film")
        table[name] = values
        unknown = (UNKNOWN,) if (values == "").any() else ()
        if name == "source":  # in their own order, so that trainings with and without other attributes are alike
            known = list(cohort.info.biases)
        named.append(Attribute(name, (*known, *unknown), weight))
    return dataclasses.replace(cohort, table=table, info=dataclasses.replace(cohort.info, named=tuple(named)))


def as_trained(cohort: Cohort, attributes: Iterable[Attribute]) -> Cohort:
    """The cohort with the values of these attributes in the spelling that a training knows; columns it lacks are left out."""
    table = cohort.table.copy()
    for attribute in attributes:
        if attribute.name != "source" and (
            attribute.name in table or (attribute.name == "age_band" and "age" in table)
        ):
            table[attribute.name] = values_of(table, attribute.name, attribute.values)
    return dataclasses.replace(cohort, table=table)


def check_attributes(cohort: Cohort, batch_size: int) -> dict[str, Confounding]:
    """By name, how far each of the cohort's attributes gives the label of its training films away."""
    at = cohort.positions(Split.TRAIN)
    label = cohort.table["target_name"].iloc[at]
    return {
        attribute.name: check_confounding(label, cohort.values(attribute).iloc[at], batch_size, attribute.name)
        for attribute in cohort.info.attributes
    }
