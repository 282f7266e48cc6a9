"""Pages from templates: all markup of the report and the leaderboard stands in ``templates/``.

Text is made safe where a template writes it, and what of it has no looks is made visible. The
templates are indented and broken into lines for their readers; the pages are not, for their size.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.report import figures
from meddel_fast.benchmark.report.text import number, percent, visible
from meddel_fast.common.extras import needs

if TYPE_CHECKING:
    from jinja2 import Environment

# A line end, with the indentation after it, beside a tag of either language.
_LINE_END = re.compile(r"(?<=>)[ \t]*\n\s*|(?<=%\})[ \t]*\n\s*|[ \t]*\n\s*(?=<|\{%|\{#)")


def fill(template: str, **values: Any) -> str:
    """Fill in a template of ``templates/``, named without its ``.html.j2``."""
    return environment().get_template(f"{template}.html.j2").render(values)


def resource(name: str) -> str:
    """Read a file that stands beside the templates' folder."""
    return files("meddel_fast.benchmark.report").joinpath(name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Give what loads the templates, and knows their filters."""
    with needs("benchmark"):
        from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_template),
        finalize=_seen,
    )
    made.filters |= {"percent": percent, "number": number, "resource": resource}
    made.globals |= {"marker": figures.marker}
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made


def _template(name: str) -> str:
    """Read a template, without the line ends and indentation that stand beside tags.

    They go into comments, so that errors name the line of the file.
    """

    def comment(ends: re.Match[str]) -> str:
        return "{#" + "\n" * ends.group().count("\n") + "#}"

    return _LINE_END.sub(comment, resource(f"templates/{name}").strip())


def _seen(value: Any) -> Any:
    """Make text visible; markup, which templates alone make, is so already."""
    return value if hasattr(value, "__html__") else visible(value)
