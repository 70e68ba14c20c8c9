"""`strongroom graph`: the pipelines of the spec as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import click

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.spec.plan import PipelinePlan, Plan

_ROW, _BOX, _GAP, _TOP = 70, 150, 40, 20
_NOT_IN_LABELS = re.compile(r"[^\w \-./:,…]")
_NOT_IN_XML = re.compile("[\ufffe\uffff]")


@command("graph")
@click.option("--format", "form", type=click.Choice(["mermaid", "svg"]), help="mermaid, or an svg image.")
def graph_command(settings: GlobalOptions, form: str | None) -> None:
    """Draw the pipelines: routes on the left, what a read passes, and the backend on the right.

    Example: strongroom graph --format svg > pipelines.svg
    """
    settings.refuse_format(form)
    plan = settings.plan()
    if settings.json:
        output.as_json({"pipelines": {name: _steps(one) for name, one in plan.pipelines.items()}})
    else:
        output.lines(_mermaid(plan) if form != "svg" else _svg(plan))


def _steps(pipeline: PipelinePlan) -> list[str]:
    """Return the types that a read passes, in order."""
    last = pipeline.provider.type if pipeline.provider is not None else "fallback"
    return [*(part.type for part in pipeline.middleware), last]


def _entries(plan: Plan, name: str) -> list[str]:
    routes = [f"{route.prefix}…" for route in plan.routes if route.pipeline == name]
    return [*routes, "every other key"] if name == plan.default else routes


def _mermaid(plan: Plan) -> Iterator[str]:
    yield "flowchart LR"
    numbers = {name: index for index, name in enumerate(plan.pipelines)}
    for name, pipeline in plan.pipelines.items():
        index = numbers[name]
        steps = [f'p{index}_{at}["{step}"]' for at, step in enumerate(_steps(pipeline))]
        yield f'  p{index}["{name}"] --> {" --> ".join(steps)}'
        for at, entry in enumerate(_entries(plan, name)):
            label = _NOT_IN_LABELS.sub(lambda sign: f"#{ord(sign[0])};", entry)  # as Mermaid has its entities
            yield f'  r{index}_{at}(["{label}"]) --> p{index}'
        if pipeline.fallback is not None:
            for order, member in enumerate(pipeline.fallback.pipelines, 1):
                yield f"  p{index}_{len(_steps(pipeline)) - 1} -. {order} .-> p{numbers[member]}"


def _svg(plan: Plan) -> Iterator[str]:
    rows = [(name, _entries(plan, name), _steps(one)) for name, one in plan.pipelines.items()]
    columns = max((len(steps) for _, _, steps in rows), default=0) + 2
    width, height = columns * (_BOX + _GAP) + _GAP, len(rows) * _ROW + _TOP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">'
    )
    for row, (name, entries, steps) in enumerate(rows):
        y = _TOP + row * _ROW
        for column, text in enumerate([", ".join(entries) or "by name", name, *steps]):
            x = _GAP + column * (_BOX + _GAP)
            fill = "#eef" if column == 1 else "#fff"
            yield f'<rect x="{x}" y="{y}" width="{_BOX}" height="36" rx="6" fill="{fill}" stroke="#446"/>'
            shown = escape(_NOT_IN_XML.sub("\ufffd", text))
            yield f'<text x="{x + _BOX // 2}" y="{y + 23}">{shown}</text>'
            if column:
                yield f'<path d="M{x - _GAP} {y + 18}H{x - 4}" stroke="#446" fill="none"/>'
    yield "</svg>"
