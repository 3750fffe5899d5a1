"""The dashboard: pages over one session, in a browser on this machine. Loaded when asked for.

- `_guard.py`: who is let in
- `_server.py`: HTTP on loopback
- `_session.py`: what the pages show of a session that runs, and of one that has ended
- `_documents.py`: a page's facts, from public names
- `_collector.py`, `_history.py`: the thread that writes them down, and the file
- `_report.py`: one HTML file of a history
- `_prometheus.py`, `_machine.py`: what a scraper gets; `grafana.json`: how Grafana shows it
- `_bundle.py`: the pages as one document, made of `static/`

It knows no engine, and nothing below it knows of it but its name.
"""

from heliostat.dashboard._dashboard import Dashboard, grafana, show, start
from heliostat.dashboard._history import History, find, runs
from heliostat.dashboard._report import write_report

__all__ = ["Dashboard", "History", "find", "grafana", "runs", "show", "start", "write_report"]
