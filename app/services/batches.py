"""Where batch jobs wait and run, and who may see them; the folders and the key that a job may use."""

import secrets
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.jobs.batch_desk import BatchDesk, Presence
from app.jobs.film_folders import sub_folders
from app.services.runs import runs_root
from datasets.film.identity import KEY_FILE, hash_key


@st.cache_resource(show_spinner=False)
def batch_desk() -> BatchDesk:
    """Where batch jobs wait, run and are kept for their visitors; one for the whole server."""
    return BatchDesk()


def visitor() -> str:
    """A random name for this visit: what it started can be asked for by no other."""
    token: str = st.session_state.setdefault("visitor", secrets.token_hex(16))
    return token


def presence() -> Presence:
    """Tells whether this visitor is still there; can be called from any thread."""
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    return Presence(lambda: not st.runtime.exists() or st.runtime.get_instance().is_active_session(session))


@st.cache_data(ttl=30, max_entries=4, show_spinner="Listing the folders")
def film_folders(root: Path) -> list[str]:
    """Sub-folders that visitors may score."""
    return sub_folders(root)


def shared_key() -> bytes | None:
    """The key of the hashes in the runs' folder; None where it has none yet."""
    try:
        return hash_key(runs_root()) if (runs_root() / KEY_FILE).is_file() else None
    except (OSError, ValueError):
        return None
