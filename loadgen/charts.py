"""Charts of a run's figures, put into a page of locust's: its report, or its web UI, where they are redrawn.

The drawing is `charts.js`, which needs nothing from anywhere.
"""

from importlib.resources import files
from typing import Any

import orjson

END = "</body>"


def with_charts(page: str, document: dict[str, Any] | None, *, figures_url: str = "", tab: str = "") -> str:
    """Return `page` with charts at its end: of `document`, or of what `figures_url` says again and again, as
    long as the tab called `tab` is open."""
    settings = {"document": document, "figures_url": figures_url, "tab": tab}
    # What is inside a script ends with the first "</": a path's name or a failure may hold one.
    said = orjson.dumps(settings).decode().replace("</", "<\\/")
    room = files("loadgen")
    style, script = (room.joinpath(name).read_text("utf-8") for name in ("charts.css", "charts.js"))
    ours = (
        f'<style>{style}</style><div id="fiveways"></div><script>{script}\nfivewaysCharts({said});</script>'
    )
    before, end, after = page.rpartition(END)
    return f"{before}{ours}{end}{after}" if end else page + ours
