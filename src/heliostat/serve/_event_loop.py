"""The event loop of replicas: uvloop's, which spends a third less on a connection, or asyncio's."""

from __future__ import annotations

import asyncio

try:  # at the top, so that replicas are born with it
    import uvloop
except ImportError:
    new_event_loop = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop
