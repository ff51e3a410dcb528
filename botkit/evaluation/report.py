"""An HTML page of figures, intervals, slices, plots and the worst examples: one file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from botkit.data.jsonl import read_text
from botkit.errors import DataError, MissingExtraError
from botkit.evaluation.metrics import calibration_error, confusion
from botkit.evaluation.scored import Scored, compare, figures, intervals, read_predictions, slices

_WORST: Final = 25
_LEAST: Final = 5
"""Slices of fewer examples are not drawn."""
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } td, th { padding: .15rem .8rem .15rem 0; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums } th { border-bottom: 1px solid #999 }
img { max-width: 100% } .muted { color: #666 } .better { color: #0a7a3d } .worse { color: #b3261e }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } img { background: #fff } }
</style></head><body><h1>{{ title }}</h1>
{% for part in parts %}<h2>{{ part.name }}</h2><p class="muted">{{ part.n }} examples</p>
<table><tr><th>figure</th><th>value</th><th>95 % interval</th></tr>
{% for row in part.figures %}<tr><td>{{ row.name }}</td><td class="n">{{ "%.4f" % row.value }}</td><td>
{% if row.interval %}{{ "%.4f" % row.interval[0] }} … {{ "%.4f" % row.interval[1] }}{% endif %}</td></tr>{% endfor %}</table>
{% for plot in part.plots %}<p><img alt="{{ plot.alt }}" src="data:image/png;base64,{{ plot.data }}"></p>{% endfor %}
{% for facet, values in part.slices.items() %}<h3>By {{ facet }}</h3><table><tr><th></th><th>n</th>
{% for name in part.names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for value, row in values.items() %}<tr><td>{{ value }}</td><td class="n">{{ row.n }}</td>
{% for name in part.names %}<td class="n">{{ "%.4f" % row[name] if name in row else "" }}</td>{% endfor %}</tr>{% endfor %}
</table>{% endfor %}
{% if part.worst %}<h3>What went wrong</h3><table><tr><th>example</th><th>right</th><th>said</th></tr>
{% for one in part.worst %}<tr><td>{{ one.text }}</td><td>{{ one.wanted }}</td><td>{{ one.said }}</td></tr>{% endfor %}</table>
{% endif %}{% endfor %}
{% for versus in comparisons %}<h2>{{ versus.second }} against {{ versus.first }}</h2>
{% if versus.why_not %}<p class="muted">Not compared: {{ versus.why_not }}</p>{% else %}
<table><tr><th>figure</th><th>n</th><th>difference</th><th>95 % interval</th><th>p</th><th></th></tr>
{% for name, row in versus.figures.items() %}<tr><td>{{ name }}</td><td class="n">{{ row.n }}</td>
<td class="n">{{ "%+.4f" % row.difference }}</td><td>{{ "%+.4f" % row.interval[0] }} … {{ "%+.4f" % row.interval[1] }}</td><td class="n">{{ "%.3f" % row.p }}</td>
<td class="{{ row.verdict }}">{{ row.verdict }}</td></tr>{% endfor %}</table>{% endif %}{% endfor %}
</body></html>
"""


def write_report(files: Sequence[Path], out: Path, *, title: str = "Evaluation") -> None:
    """Describe each file of predictions, and compare the later ones with the first."""
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("An HTML report", "train") from error
    mpl.use("Agg")
    read = [(name, read_predictions(file)) for name, file in zip(_names(files), files, strict=True)]
    parts = [_part(name, scored) for name, scored in read]
    comparisons = []
    for name, scored in read[1:]:
        versus: dict[str, Any] = {"first": read[0][0], "second": name}
        try:
            versus |= compare(read[0][1], scored)
        except DataError as error:  # other data, or other figures: described, and not compared
            versus["why_not"] = str(error)
        comparisons.append(versus)
    page = jinja2.Environment(autoescape=True).from_string(_PAGE)
    html = page.render(title=title, parts=parts, comparisons=comparisons)
    new = out.with_name(f".{out.name}.new")
    try:
        new.write_text(html, encoding="utf-8", errors="backslashreplace")  # half of a surrogate pair has no UTF-8
        new.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}).") from error
    finally:
        new.unlink(missing_ok=True)
    assert read_text(out)


def _part(name: str, scored: list[Scored]) -> dict[str, Any]:
    found, ranges = figures(scored), intervals(scored)
    first = next(iter(scored[0].scores))
    main = next((name for name in ("accuracy", "f1") if name in found), first)
    names = [main] if main in scored[0].scores else [first]
    by_facet = slices(scored)
    wrong = sorted(scored, key=lambda one: (one.scores.get(main, 1.0), -(one.confidence or 0.0)))
    return {
        "name": name,
        "n": len(scored),
        "figures": [{"name": key, "value": value, "interval": ranges.get(key)} for key, value in found.items()],
        "names": names,
        "slices": by_facet,
        "worst": [_shown(one) for one in wrong[:_WORST] if one.scores.get(main, 1.0) < 1],
        "plots": _plots(scored, by_facet, names[0]),
    }


def _shown(one: Scored) -> dict[str, str]:
    """An example, what would have been right, and what was said."""
    text, arrow, said = one.text.partition(" → ")
    if one.wanted or not arrow:
        return {"text": one.text, "wanted": one.wanted or one.gold, "said": one.said}
    return {"text": text, "wanted": one.gold, "said": said}


def _names(files: Sequence[Path]) -> list[str]:
    """What tells the files apart: their names, those that occur twice with their folders."""
    stems = [file.stem for file in files]
    return [
        str(file.with_suffix("")) if stems.count(stem) > 1 else stem for file, stem in zip(files, stems, strict=True)
    ]


def _plots(scored: list[Scored], by_facet: dict[str, Any], figure: str) -> list[dict[str, str]]:
    import matplotlib.pyplot as plt

    plots = []
    bars = [
        (f"{facet}: {value}", row[figure], row["n"])
        for facet, values in by_facet.items()
        for value, row in values.items()
        if figure in row and row["n"] >= _LEAST
    ]
    if bars:
        drawn, axes = plt.subplots(figsize=(8, 0.26 * len(bars) + 0.8), constrained_layout=True)
        axes.barh([_plain(label) for label, _, _ in bars], [value for _, value, _ in bars])
        axes.axvline(float(np.mean([one.scores[figure] for one in scored if figure in one.scores])), color="k", lw=1)
        axes.invert_yaxis()
        axes.set(xlabel=f"{figure} (line: all)", title="Slices")
        plots.append(_image(drawn, f"{figure} of each slice"))
    if all(one.wanted and one.said for one in scored):
        labels = sorted({label for one in scored for label in (one.wanted, one.said)})
        table = confusion([one.said for one in scored], [one.wanted for one in scored], labels)
        drawn, axes = plt.subplots(figsize=(1.2 + 0.8 * len(labels),) * 2, constrained_layout=True)
        axes.imshow(table / np.maximum(table.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(table):
            axes.text(column, row, str(count), ha="center", va="center")
        axes.set_xticks(range(len(labels)), [_plain(label) for label in labels], rotation=45)
        axes.set_yticks(range(len(labels)), [_plain(label) for label in labels])
        axes.set(xlabel="said", ylabel="right", title="Confusion")
        plots.append(_image(drawn, "confusion table"))
    sure = [
        (one.confidence, one.scores[figure]) for one in scored if one.confidence is not None and figure in one.scores
    ]
    if len(sure) >= _LEAST:
        said, was = (np.array(values) for values in zip(*sure, strict=True))
        bins = np.minimum((said * 10).astype(int), 9)
        drawn, axes = plt.subplots(figsize=(4.2, 4), constrained_layout=True)
        axes.plot([0, 1], [0, 1], color="gray", lw=1)
        axes.plot(
            [said[bins == b].mean() for b in np.unique(bins)], [was[bins == b].mean() for b in np.unique(bins)], "o-"
        )
        error = calibration_error([float(x) for x in said], [bool(x >= 0.5) for x in was])
        axes.set(xlabel="confidence", ylabel=figure, title=f"Calibration (error {error:.3f})", xlim=(0, 1), ylim=(0, 1))
        plots.append(_image(drawn, "confidence against being right"))
    return plots


def _image(drawn: Any, alt: str) -> dict[str, str]:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110)
    plt.close(drawn)
    return {"alt": alt, "data": base64.b64encode(buffer.getvalue()).decode("ascii")}


def _plain(label: str) -> str:
    """A label that the fonts at hand can draw; Chinese is kept where a font for it is found."""
    from matplotlib import font_manager

    label = label.replace("$", r"\$")  # no formula
    if label.isascii() or any("CJK" in font.name or "Hei" in font.name for font in font_manager.fontManager.ttflist):
        return label
    return label.encode("unicode_escape").decode("ascii")
