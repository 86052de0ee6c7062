"""Errors where labels are rare: in the low and in the high tail apart, and weighted by relevance."""

import math

from orchestrator.report.comparisons import Column as Score
from orchestrator.report.formats import NOTHING
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from orchestrator.report.tables import TITLES, Row, Table
from orchestrator.report.tails import HIGH, LOW
from workloads.relevance import relevance

SERA = ("sera", "all")


def tails(results: Results, section: Section) -> Part | None:
    """Every row's few-shot error in each tail, and its SERA; nothing where there are no such scores."""
    table = section.table
    wanted = ((table.primary[0], LOW), (table.primary[0], HIGH), SERA)
    shown = [column for column in wanted if any(column in row.scores for row in table.rows)]
    if not shown:
        return None
    heads = [Column("Recipe", words=True), *(Column(_title(column)) for column in shown)]
    lines = [Line([row.recipe, *(_cell(table, row, column) for column in shown)]) for row in table.rows]
    body = grid("Errors of rare labels: mean ± sd over seeds", heads, lines)
    rows = [f"{table.further[column]} in the {column[1].partition('/')[2]} one" for column in shown if column != SERA]
    notes = [f"Tails: few-shot test rows below and above the training median, {' and '.join(rows)}."] if rows else []
    return Part("tails", "Rare labels", body, notes=(*notes, *([_relevance(section)] if SERA in shown else [])))


def _title(column: Score) -> str:
    metric, region = column
    return "SERA" if column == SERA else f"{TITLES.get(metric, metric)} Few, {region.partition('/')[2]} tail"


def _cell(table: Table, row: Row, column: Score) -> Cell:
    score = row.scores.get(column)
    if score is None:
        return Cell(NOTHING)
    digits = 0 if column == SERA else table.decimals(column[0])
    return Cell(f"{score.mean:,.{digits}f}", "" if score.sd is None else f"± {score.sd:,.{digits}f}", order=score.mean)


def _relevance(section: Section) -> str:
    """What SERA weighs labels by."""
    phi = relevance(section.data.train.y.numpy())
    ends = [f"{end:g} on" for end in (phi.low, phi.high) if math.isfinite(end)]
    return (
        "SERA: the sum of squared errors, each weighted by the relevance of its label, which grows from 0 at the "
        f"training median, {phi.median:g}, to 1 from {' and '.join(ends)} (Ribeiro and Moniz, 2020)."
    )
