"""Draw docs/picture.png: the pages of the demo's first training, side by side. `make picture` runs it."""

import shutil
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import takewhile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "build/demo"
PICTURE = ROOT / "docs/picture.png"
WIDTH, HEIGHT = 640, 720  # of each page in the picture
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# MLflow's page without its chat.
WITHOUT_CHAT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false")
"""
FRAME = """
<style>
  body {{ margin: 0; padding: 24px; display: flex; gap: 24px; background: #e8ecf1 }}
  body {{ font: 600 22px sans-serif }}
  figure {{ margin: 0 }}
  figcaption {{ padding: 0 0 12px 4px; color: #22303f }}
  img {{ display: block; width: {width}px; border-radius: 10px; border: 1px solid #b9c3cf }}
</style>
{figures}
"""
FIGURE = '<figure><figcaption>{title}</figcaption><img src="data:image/png;base64,{png}"></figure>'


def main() -> None:
    """Take three screenshots, set them side by side, and write them with few colours."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        sys.exit(f"No browser found: install Chromium, so that the PATH has one of {', '.join(BROWSERS)}.")
    with ui() as addresses, sync_playwright() as playwright:
        context = playwright.chromium.launch(executable_path=browser).new_context()
        context.add_init_script(WITHOUT_CHAT)
        screenshots = {
            "The training's report": report(context.new_page()),
            "Its run in Prefect": prefect(context.new_page(), addresses["Prefect"]),
            "Its model in MLflow": mlflow(context.new_page(), addresses["MLflow"]),
        }
        frame = context.new_page()
        frame.set_viewport_size({"width": 3 * (WIDTH + 26) + 24, "height": 100})
        figures = [
            FIGURE.format(title=title, png=b64encode(png).decode()) for title, png in screenshots.items()
        ]
        frame.set_content(FRAME.format(width=WIDTH, figures="".join(figures)))
        png = frame.screenshot(full_page=True)
        context.browser.close()
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(192, dither=Image.Dither.NONE)
    picture.save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


@contextmanager
def ui() -> Iterator[dict[str, str]]:
    """Run the demo's `ui` for the block: the addresses that it prints, by name."""
    command = ["uv", "run", "--quiet", "demo", "ui"]
    with subprocess.Popen(command, cwd=DEMO, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = iter(process.stdout or ())
            # Everything before the line about Ctrl-C: a name and an address, or a port that is taken.
            lines = [line.split() for line in takewhile(lambda line: not line.startswith("Ctrl-C"), printed)]
            yield {name: address for name, address, *more in lines if not more}
        finally:
            process.terminate()


def report(page: Page) -> bytes:
    """Show the report of the training."""
    page.goto((DEMO / "reports/report.html").as_uri())
    return screenshot(page, 860)


def prefect(page: Page, address: str) -> bytes:
    """Show the first run in Prefect, when its graph has come to rest."""
    log_in(page, address, "Flow Runs")
    run = first("SELECT id FROM flow_run ORDER BY start_time", DEMO / ".prefect/prefect.db")
    page.goto(f"{address.partition('/open')[0]}/runs/flow-run/{run}")
    page.get_by_text("Completed").first.wait_for()
    return screenshot(page, 680)


def mlflow(page: Page, address: str) -> bytes:
    """Show the first version in MLflow, without its tags and with its schema."""
    log_in(page, address, "Experiments")
    page.goto(f"{address.partition('/open')[0]}/#/models/demo/versions/1")
    page.get_by_label("Toggle sidebar").click()
    page.get_by_text("Tags", exact=True).click()
    page.get_by_text("Inputs (").click()
    return screenshot(page, 880)


def screenshot(page: Page, width: int) -> bytes:
    """Take a picture of a page that wants this width, when it has come to rest."""
    page.set_viewport_size({"width": width, "height": width * HEIGHT // WIDTH})
    page.wait_for_timeout(5000)
    return page.screenshot()


def log_in(page: Page, address: str, text: str) -> None:
    """Open an address that carries a password, and wait until its first page shows a text."""
    page.goto(address)
    page.get_by_text(text).first.wait_for()


def first(query: str, database: Path) -> str:
    """Return the first answer of a database."""
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute(query).fetchone()[0])


if __name__ == "__main__":
    main()
