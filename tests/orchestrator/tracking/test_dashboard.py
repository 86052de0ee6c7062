"""optuna-dashboard shows the searches of a study, in a real browser."""

import threading
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest

from browser import chromium
from builders import study
from finished import finished
from orchestrator.ledger.ledger import Ledger
from orchestrator.tracking.optuna import OptunaStorage


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_shows_every_search_with_its_trials(tmp_path: Path) -> None:
    from optuna_dashboard import wsgi

    made = study(storage=str(tmp_path))
    OptunaStorage(made, Ledger(made.storage)).update(finished(made, stopped=1).plans)
    storage = optuna.storages.RDBStorage(OptunaStorage.address(made))
    with make_server("127.0.0.1", 0, wsgi(storage), handler_class=Quiet) as server, chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/dashboard"
        page = browser.new_page()
        page.goto(address)
        page.get_by_text("tiny/nhanes-sbp/l1 + lds").first.wait_for()
        page.get_by_text("tiny/nhanes-sbp/l1 + lds").first.click()
        page.wait_for_url("**/studies/*")
        page.goto(f"{page.url.split('?')[0].rstrip('/')}/trials")
        for state in ("Complete", "Pruned"):
            page.get_by_text(state, exact=True).first.wait_for()
        server.shutdown()
    storage.engine.dispose()
