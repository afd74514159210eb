"""A browser for tests of the page: Debian's chromium, driven by Playwright, and a tab that notes what goes wrong."""

from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
# As a container needs it, and nothing that would reach for the network.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Tab:
    """A tab that writes down every console error and every request."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.view = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.view.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.view.on("pageerror", lambda e: self.errors.append(str(e)))
        self.view.on("dialog", lambda d: (self.errors.append(f"dialog {d.message}"), d.dismiss()))
        self.view.on("request", lambda r: self.requests.append(r.url))
        self.view.goto(address)

    def column(self, head: str) -> list[str]:
        """The texts of a column of the trials' table, of rows that are shown."""
        return list(
            self.view.evaluate(
                """head => {
                  const table = document.querySelector("table.trials");
                  const at = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.trim() === head);
                  return [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[at].textContent.trim());
                }""",
                head,
            )
        )
