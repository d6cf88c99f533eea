"""A flame graph as one HTML file: nothing is fetched. Wide is dear; what stands on a frame was called from it.

    [ duty_run                                        ]      width: nanoseconds of the model, or instructions
    [ feed                    ][ signal     ][ gateway ]      a stage, then the functions that were called,
    [ feed_turn               ][ signal_turn]                 last what the compiler inlined there
    [ event_apply   ][raw_next]

Each frame's title has its counts; a click makes it as wide as the page, the box marks what matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

import numpy as np

from bench.profile.model import Prices, bound_text, total_ns
from bench.profile.reading import EVENTS, LOOP, Costs, Place, Samples
from bench.profile.table import Row, count_text

ROW_PIXELS = 20
WIDTH = 1160
LEAST_SHARE = 0.0005  # narrower frames are not drawn
HUES = {"feed": 205, "signal": 145, "risk": 265, "gateway": 22, LOOP: 48}
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --muted: #656d76; --edge: #fff; --light: 74%; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --muted: #9198a1; --edge: #0d1117;
  --light: 34%; } }
body { margin: 0 auto; max-width: 1180px; padding: 24px; background: var(--ground); color: var(--ink);
  font: 14px/1.5 Inter, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 21px; margin: 0 0 2px; } h2 { font-size: 16px; margin: 28px 0 6px; }
p { color: var(--muted); margin: 2px 0; max-width: 90ch; }
input { font: inherit; padding: 3px 8px; margin: 12px 8px 0 0; width: 260px; } #told { color: var(--muted); }
svg { display: block; width: 100%; height: auto; } g { cursor: pointer; }
rect { stroke: var(--edge); stroke-width: 1; fill: hsl(var(--hue) 62% var(--light)); }
g.inlined rect { fill: hsl(var(--hue) 34% var(--light)); stroke-dasharray: 2 2; }
g.found rect { fill: #e23ab0; }
text { font: 11px ui-monospace, Menlo, monospace; fill: var(--ink); pointer-events: none; }
""".strip()
SCRIPT = """
const frames = svg => [...svg.querySelectorAll('g')];
function draw(svg, left, width) {
  for (const g of frames(svg)) {
    const whole = WIDTH, x = (+g.dataset.x - left) / width * whole, w = +g.dataset.w / width * whole;
    const from = Math.max(0, x), to = Math.min(whole, x + w), shown = to - from > 0.3;
    g.style.display = shown ? '' : 'none';
    if (!shown) continue;
    const rect = g.querySelector('rect'), text = g.querySelector('text'), room = Math.floor((to - from - 6) / 6.7);
    rect.setAttribute('x', from); rect.setAttribute('width', to - from);
    text.setAttribute('x', from + 4);
    const name = g.dataset.name;
    text.textContent = room < 3 ? '' : name.length <= room ? name : name.slice(0, room - 1) + '\\u2026';
  }
}
for (const svg of document.querySelectorAll('svg')) {
  draw(svg, 0, 1);
  for (const g of frames(svg)) g.addEventListener('click', () => draw(svg, +g.dataset.x, +g.dataset.w));
}
document.getElementById('search').addEventListener('input', e => {
  const sought = e.target.value.trim().toLowerCase(), told = [];
  for (const svg of document.querySelectorAll('svg')) {
    let share = 0, upTo = -1;
    for (const g of frames(svg).sort((a, b) => a.dataset.x - b.dataset.x || a.dataset.level - b.dataset.level)) {
      const hit = sought !== '' && g.dataset.name.toLowerCase().includes(sought);
      g.classList.toggle('found', hit);
      const x = +g.dataset.x, w = +g.dataset.w;
      if (hit && x + 1e-9 >= upTo) { share += w; upTo = x + w; }
    }
    told.push((100 * share).toFixed(1) + '% of ' + svg.dataset.by);
  }
  document.getElementById('told').textContent = sought ? told.join(', ') : '';
});
""".strip()


@dataclass
class Frame:
    """One function in one chain of calls."""

    name: str
    stage: str
    inlined: bool = False
    costs: Costs = field(default_factory=lambda: np.zeros(len(EVENTS)))
    below: dict[tuple[str, bool], Frame] = field(default_factory=dict)


def frames_of(samples: Samples) -> Frame:
    """The tree of calls, inclusive costs at each frame."""
    root = Frame("one event", LOOP)
    for place, costs in samples.items():
        root.costs += costs
        at = root
        for name, inlined in chain(place):
            at = at.below.setdefault((name, inlined), Frame(name, place.stage, inlined))
            at.costs += costs
    return root


def chain(place: Place) -> Iterator[tuple[str, bool]]:
    """Stage, then the calls, then what was inlined into the last of them."""
    yield place.stage, False
    for name in place.stack:
        yield name, False
    if place.function != place.held_by:
        yield place.function, True


def depth(frame: Frame) -> int:
    """Rows that a frame and what stands on it take."""
    return 1 + max(map(depth, frame.below.values()), default=0)


def boxes(frame: Frame, measure: Callable[[Costs], float], prices: Prices) -> list[str]:
    """The frames of a graph, as wide as `measure` says, in shares of the root."""
    whole = measure(frame.costs)
    height = depth(frame) * ROW_PIXELS
    made: list[str] = []

    def lay(each: Frame, left: float, level: int) -> None:
        share = measure(each.costs) / whole
        if share < LEAST_SHARE:
            return
        y = height - (level + 1) * ROW_PIXELS
        kind = ' class="inlined"' if each.inlined else ""
        made.append(
            f'<g{kind} style="--hue:{hue(each)}" data-x="{left:.6f}" data-w="{share:.6f}" data-level="{level}" '
            f'data-name="{escape(each.name, quote=True)}"><title>{escape(title(each, frame, prices))}</title>'
            f'<rect x="{left * WIDTH:.2f}" y="{y}" width="{share * WIDTH:.2f}" height="{ROW_PIXELS - 1}"/>'
            f'<text x="{left * WIDTH + 4:.2f}" y="{y + 13}"></text></g>'
        )
        for one in sorted(each.below.values(), key=lambda one: -measure(one.costs)):
            lay(one, left, level + 1)
            left += measure(one.costs) / whole

    lay(frame, 0.0, 0)
    return made


def hue(frame: Frame) -> int:
    """A stage's colour, shaded by name so that neighbours differ."""
    return HUES[frame.stage] + crc32(frame.name.encode()) % 21 - 10


def title(frame: Frame, root: Frame, prices: Prices) -> str:
    """What a frame says when pointed at."""
    row = Row(frame.name, frame.stage, frame.costs)
    ns, whole_ns = total_ns(frame.costs, prices), total_ns(root.costs, prices)
    counts = ", ".join(
        f"{count_text(row.of(*events))} {what}"
        for what, events in (
            ("instructions", ("Ir",)), ("branch misses", ("Bcm", "Bim")), ("L1 code misses", ("I1mr",)),
            ("L1 read misses", ("D1mr",)), ("L2 misses", ("ILmr", "DLmr")),
        )
    )  # fmt: skip
    how = " (inlined)" if frame.inlined else ""
    bound = bound_text(frame.costs, prices)
    return f"{frame.name}{how}: {ns:.1f} ns of the model ({ns / whole_ns:.1%}); {counts}; {bound}"


def flame_page(samples: Samples, prices: Prices, notes: list[str]) -> str:
    """Both graphs: by what the model says that it takes, and by instructions."""
    root = frames_of(samples)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>hotpath: one event</title>',
        f"<style>{STYLE}</style></head><body><h1>One event of the fused path</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        '<input id="search" placeholder="find a function" aria-label="find a function"><span id="told"></span>',
    ]
    measures: list[tuple[str, Callable[[Costs], float]]] = [
        ("nanoseconds of the model", lambda costs: total_ns(costs, prices)),
        ("instructions", lambda costs: float(costs[0])),
    ]
    for by, measure in measures:
        parts.append(f"<h2>By {by}</h2>")
        parts.append(f'<svg viewBox="0 0 {WIDTH} {depth(root) * ROW_PIXELS}" data-by="{by}" role="img">')
        parts += [*boxes(root, measure, prices), "</svg>"]
    parts.append(f"<script>{SCRIPT.replace('WIDTH', str(WIDTH))}</script></body></html>")
    return "\n".join(parts)
