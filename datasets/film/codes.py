"""What SNOMED codes mean, from the lists of the standard that pydicom has."""

from functools import cache


@cache
def listed_meaning(context_group: str, value: str) -> str:
    """The meaning of a code, in SNOMED CT or the older RT; empty where the list doesn't have it.

    Args:
        context_group: of PS3.16: cid4010 (views), cid4031 (anatomic regions).
    """
    from pydicom.sr._snomed_dict import mapping
    from pydicom.sr.codedict import codes

    value = mapping["SRT"].get(value, value)
    concepts = getattr(codes, context_group).concepts.values()
    return next((concept.meaning for concept in concepts if concept.value == value), "")
