"""Selectors of labels: read from manifests, asked about labels, told in words.

The semantics are those of Kubernetes' label selectors: all requirements hold; an empty selector selects everything;
`NotIn` and `DoesNotExist` also hold for what lacks the key.
"""

from weave.npc.manifest_fields import (
    MAX_LABEL_VALUE_CHARACTERS,
    ManifestError,
    fields,
    items,
    label_key,
    labels,
    nulls,
    quoted,
    text,
)
from weave.npc.model import Labels, Operator, Requirement, Selector

EVERYTHING = Selector()
_WITH_VALUES = (Operator.IN, Operator.NOT_IN)


def make_selector(requirements: list[Requirement]) -> Selector:
    """Return the canonical selector of these requirements: sorted, each once."""
    return Selector(tuple(sorted(set(requirements), key=_order)))


def _order(requirement: Requirement) -> tuple[str, str, list[str]]:
    return requirement.key, requirement.operator.value, sorted(requirement.values)


def parse_selector(value: object, where: str) -> Selector:
    """Read a label selector; raise `ManifestError` where any part of it is not understood.

    A label without a value, as a template leaves it that lacks one, is an error: without it the selector would select
    more, maybe everything.
    """
    read = fields(value, where, ("matchLabels", "matchExpressions"))
    wanted = labels(read.get("matchLabels"), f"{where}.matchLabels", MAX_LABEL_VALUE_CHARACTERS)
    for key in nulls(read.get("matchLabels")):
        raise ManifestError(f'{where}.matchLabels[{quoted(key)}] is nothing; for an empty value write ""')
    requirements = [Requirement(key, Operator.IN, frozenset([label])) for key, label in wanted.items()]
    for index, expression in enumerate(items(read.get("matchExpressions"), f"{where}.matchExpressions")):
        requirements.append(_parse_requirement(expression, f"{where}.matchExpressions[{index}]"))
    return make_selector(requirements)


def _parse_requirement(value: object, where: str) -> Requirement:
    read = fields(value, where, ("key", "operator", "values"))
    key = label_key(read.get("key"), where)
    try:
        operator = Operator(text(read.get("operator"), f"{where}.operator"))
    except ValueError as exc:
        raise ManifestError(f"{where}.operator should be In, NotIn, Exists or DoesNotExist, "
                            f"not {quoted(read.get('operator'))}") from exc
    values = frozenset(text(inner, f"{where}.values", MAX_LABEL_VALUE_CHARACTERS)
                       for inner in items(read.get("values"), f"{where}.values"))
    if bool(values) != (operator in _WITH_VALUES):
        raise ManifestError(f"{where}.values should be {'empty' if values else 'given'} with {operator.value}")
    return Requirement(key, operator, values)


def selects(selector: Selector, subject: Labels) -> bool:
    """Say whether labels fulfil every requirement."""
    return all(fulfils(requirement, subject) for requirement in selector.requirements)


def fulfils(requirement: Requirement, subject: Labels) -> bool:
    """Say whether labels fulfil one requirement."""
    value = subject.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value in requirement.values
        case Operator.NOT_IN:
            return value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None


def describe(selector: Selector) -> str:
    """Return a selector as `kubectl -l` would have it; nothing for one that selects everything."""
    return ",".join(_describe(requirement) for requirement in selector.requirements)


def _describe(requirement: Requirement) -> str:
    values = sorted(requirement.values)
    match requirement.operator:
        case Operator.IN if len(values) == 1:
            return f"{requirement.key}={values[0]}"
        case Operator.IN:
            return f"{requirement.key} in ({','.join(values)})"
        case Operator.NOT_IN if len(values) == 1:
            return f"{requirement.key}!={values[0]}"
        case Operator.NOT_IN:
            return f"{requirement.key} notin ({','.join(values)})"
        case Operator.EXISTS:
            return requirement.key
        case Operator.DOES_NOT_EXIST:
            return f"!{requirement.key}"
