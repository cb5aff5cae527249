"""One loop and one pool of connections a process."""

from __future__ import annotations

import threading
import time

from coyo_tools.machinery import connections


def test_threads_that_start_together_share_one_loop(monkeypatch):
    made = []
    real = connections.Connections

    def slow():
        time.sleep(0.1)
        made.append(real())
        return made[-1]

    connections._of_process.cache_clear()
    monkeypatch.setattr(connections, "Connections", slow)
    threads = [threading.Thread(target=connections.connections) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
