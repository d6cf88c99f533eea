"""`hotctl top`: one engine, live, in a terminal, from wherever its control process can be reached.

    WatchSnapshots --gRPC, a thread--> EngineStat --> panels (hotctl/panels.py) --> Textual

What is not fresh says so: when no look comes, the last one stays and its age stands in the first line. Killing takes
two keys, K and Enter, so that a stray one does not stop trading and nobody has to type: docs/control.md.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from hotctl import panels
from hotctl.errors import CallError
from hotpath.screen import History
from hotpath.stat import EngineStat

Looks = Callable[[], Iterator[EngineStat]]
OLD_SECONDS = 2.5  # without a look: then its age is shown
ASK_SECONDS = 10.0  # for which K waits for Enter
AGAIN_SECONDS = 1.0  # between two tries to reach a control process that went away
SHOT_SECONDS = 30.0
FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}")  # Textual's picture names fonts on the net: ours needs none
SHOT_SIZE = (150, 50)
HELP = """\
 [b]K[/b] then [b]Enter[/b]   kill: no new order leaves, open ones are cancelled; stays until it is armed
 [b]Esc[/b]            take K back; so does waiting ten seconds
 [b]p[/b]              hold the picture still; again: go on
 [b]?[/b]              this
 [b]q[/b]              leave; the engine does not notice

 [dim]now[/dim]       the last second or two; [dim]last looks[/dim]: one bar a look, its greatest is the tallest
 [dim]✗ 2.1x[/dim]    the p99 of the whole run is 2.1 times its budget
 [dim]waiting[/dim]   events in the fullest ring before a stage
 [dim]✗ ▲[/dim]       alarm, warning

 Arming, limits and modes are commands, since they have a reason: hotctl arm -m WHY
 Without a control process: hotctl kill --local"""


class HelpScreen(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "close")]
    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Static { width: auto; max-width: 100; height: auto; border: round $accent; padding: 1 2; }
    """

    def compose(self) -> ComposeResult:
        panel = Static(HELP)
        panel.border_title = "keys"
        yield panel


class TopApp(App[None]):
    """The live view."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "hotctl top"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012  (as its base class has it)
    CSS = """
    Screen { background: $background; }
    .panel { border: round $panel-lighten-2; border-title-color: $text-muted; height: auto; padding: 0 1; }
    #headline { height: 1; }
    #upper { height: auto; }
    #left { width: 3fr; height: auto; }
    #right { width: 2fr; height: auto; }
    #lower { height: auto; }
    #flow { width: 2fr; }
    #rings { width: 3fr; }
    .-narrow #upper, .-narrow #lower { layout: vertical; }
    .-narrow #left, .-narrow #right, .-narrow #flow, .-narrow #rings { width: 100%; }
    #ask { height: auto; background: $error; color: $text; padding: 0 1; display: none; }
    #ask { dock: bottom; margin-bottom: 1; }
    #ask.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "ask_kill", "kill (then Enter)", key_display="K"),
        Binding("enter", "kill", "kill", show=False, priority=True),
        Binding("escape", "take_back", "back", show=False),
        Binding("p", "hold", "hold still"),
        Binding("question_mark", "keys", "help", key_display="?"),
        Binding("q", "quit", "leave"),
    ]

    def __init__(
        self, looks: Looks, *, target: str, kill: Callable[[], str], hang_up: Callable[[], None] = lambda: None
    ) -> None:
        """`looks` gives looks until the far end leaves, or `hang_up` was called; `kill` kills, and says what came."""
        super().__init__()
        self._hang_up = hang_up
        self._looks, self._target, self._kill = looks, target, kill
        self._history = History(samples=panels.SPARK)
        self._stat: EngineStat | None = None
        self._seen = time.monotonic()
        self._trouble = ""
        self._held = False
        self._asked = 0.0  # when K was pressed; 0: it was not
        self._leaving = threading.Event()
        self.taken = 0  # looks

    # ---- what there is -----------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Static(id="headline")
        with VerticalScroll():
            with Horizontal(id="upper"):
                with Vertical(id="left"):
                    yield self._panel("latency", "path")
                    yield self._panel("stages", "stages")
                with Vertical(id="right"):
                    yield self._panel("safety", "may it trade")
                    yield self._panel("alerts", "alerts")
                    yield self._panel("limits", "limits in use")
            yield self._panel("instruments", "books, positions, open orders")
            with Horizontal(id="lower"):
                yield self._panel("flow", "orders")
                yield self._panel("rings", "rings")
        yield Static(id="ask")
        yield Footer()

    @staticmethod
    def _panel(name: str, title: str) -> Static:
        panel = Static(id=name, classes="panel")
        panel.border_title = title
        return panel

    def on_mount(self) -> None:
        """Begin to look."""
        self.run_worker(self._follow, thread=True, exit_on_error=False)
        self.set_interval(0.5, self._tick)

    def on_unmount(self) -> None:
        """The thread ends with its next look."""
        self._leaving.set()
        self._hang_up()

    # ---- looks -------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """In a thread of its own: looks as they come, and again when the far end went away."""
        while not self._leaving.is_set():
            try:
                for stat in self._looks():
                    if self._leaving.is_set():
                        return
                    self.call_from_thread(self._take, stat)
                self._trouble = ""
            except CallError as error:
                self._trouble = str(error)
            except RuntimeError:  # the application has ended while a look was under way
                return
            self._leaving.wait(AGAIN_SECONDS)

    def _take(self, stat: EngineStat) -> None:
        self._seen, self._trouble = time.monotonic(), ""
        self._history.add(stat)
        self.taken += 1
        self._stat = stat
        if not self._held:
            self._draw()

    def _tick(self) -> None:
        """What changes without a look: its age, and how long a K waits."""
        if self._asked and time.monotonic() - self._asked > ASK_SECONDS:
            self.action_take_back()
        self._draw_headline()

    def _note(self) -> Text | None:
        age = time.monotonic() - self._seen
        if self._held:
            return Text(" HELD STILL (p) ", "bold black on yellow")
        if age > OLD_SECONDS:
            return Text(f" NO LOOK FOR {age:.0f} s {self._trouble[:60]} ", "bold white on red")
        return None

    def _draw_headline(self) -> None:
        if self._stat is None:
            self._show("headline", self._note() or Text(" waiting for the first look", "dim"))
        else:
            self._show("headline", panels.headline(self._stat, target=self._target, note=self._note()))

    def _draw(self) -> None:
        stat = self._stat
        if stat is None:
            return
        self._draw_headline()
        self._show("latency", panels.latency(stat, self._history))
        self._show("stages", panels.stages(stat, self._history))
        self._show("safety", panels.safety(stat))
        self._show("alerts", panels.alerts(stat))
        self._show("limits", panels.limits(stat, self._history))
        self._show(
            "instruments", Group(panels.money(stat), panels.instruments(stat, most=max(8, self.size.height - 37)))
        )
        self._show("flow", panels.flow(stat, self._history))
        self._show("rings", panels.rings(stat))

    def _show(self, name: str, what: RenderableType) -> None:
        with suppress(NoMatches):  # while another screen stands before it
            self.screen_stack[0].query_one(f"#{name}", Static).update(what)

    # ---- keys --------------------------------------------------------------------------------------

    def action_hold(self) -> None:
        """Hold the picture still, or go on."""
        self._held = not self._held
        self._draw()

    def action_keys(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_ask_kill(self) -> None:
        """Say what Enter will do."""
        self._asked = time.monotonic()
        stat = self._stat
        name = stat.engine if stat is not None else "the engine"
        count = stat.counter("gateway", "open_orders") if stat is not None else 0
        noun = "order is" if count == 1 else "orders are"
        self._say(
            f"KILL {name}: no new order leaves, {count:,} open {noun} cancelled, and it stays killed until it is armed."
            "   Enter: kill   Esc: leave it"
        )

    def action_take_back(self) -> None:
        """Leave the engine alone."""
        self._asked = 0.0
        self.query_one("#ask", Static).remove_class("shown")

    def action_kill(self) -> None:
        """Enter: kill, if K was pressed before it."""
        if not self._asked:
            return
        self._asked = 0.0
        self._say("killing ...")
        self.run_worker(self._do_kill, thread=True, exit_on_error=False)

    def _do_kill(self) -> None:
        try:
            told = self._kill()
        except CallError as error:
            told = f"NOT KILLED: {error}   {error.next_step}"
        with suppress(RuntimeError):
            self.call_from_thread(self._say, f"{told}   (Esc closes this)")

    def _say(self, text: str) -> None:
        ask = self.query_one("#ask", Static)
        ask.update(Text(text, "bold"))
        ask.add_class("shown")


async def picture(app: TopApp, path: Path, *, looks: int = 12, size: tuple[int, int] = SHOT_SIZE) -> None:
    """Run it without a terminal until it has taken so many looks, and write what it shows as SVG."""
    async with app.run_test(size=size) as pilot:
        deadline = time.monotonic() + SHOT_SECONDS
        while app.taken < looks and time.monotonic() < deadline:
            await pilot.pause(0.1)
        if not app.taken:
            raise CallError(f"no look came within {SHOT_SECONDS:g} s: there is nothing to picture")
        await pilot.pause(0.2)
        path.write_text(FONT_FACE.sub("", app.export_screenshot(title=f"hotctl top: {app._target}")))
