"""What the first film of a server needs, made ready in the background while its first visitor still chooses one."""

import threading

import streamlit as st

from app.services import films


@st.cache_resource(show_spinner=False)
def begin() -> None:
    """Begin once the first page has been drawn, which must not wait for it; later calls do nothing."""
    threading.Thread(target=_import_all, name="first film", daemon=True).start()


@st.cache_resource(show_spinner=False)
def ready() -> None:
    """Return when a film can be scored. One caller does the work, others wait: two threads can't import torch at once."""
    films.reader()  # whose processes import their codecs meanwhile
    import app.reading.film  # noqa: F401 - torch


def _import_all() -> None:
    ready()
    import sklearn.neighbors  # noqa: F401 - for the likeness to training films, after the score
