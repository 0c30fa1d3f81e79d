import hashlib
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datasets.film.identity import KEY_FILE, hash_key, key_id, keyed_hash

KEY = bytes(range(32))


def test_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a"
    key = hash_key(root)
    assert len(key) == 32
    assert hash_key(root) == key
    assert stat.S_IMODE((root / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in root.iterdir()] == [KEY_FILE]
    assert hash_key(tmp_path / "runs" / "b") != key


def test_concurrent_first_uses_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(hash_key, [tmp_path] * 64))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_second_process_keeps_the_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def unsupported(*args: object) -> None:
        raise PermissionError("no hard links")

    if not links:
        monkeypatch.setattr("os.link", unsupported)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # both looked before either wrote
    assert hash_key(tmp_path) == hash_key(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_override_wins_and_must_exist(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.key"
    other.write_text(KEY.hex() + "\n")
    assert hash_key(tmp_path / "root", other) == KEY
    assert not (tmp_path / "root").exists()
    with pytest.raises(ValueError, match=r"can't be read: No such file"):
        hash_key(tmp_path, tmp_path / "missing.key")
    with pytest.raises(ValueError, match=r"/dev/zero can't be read: larger than the 1048576 bytes allowed"):
        hash_key(tmp_path, Path("/dev/zero"))


@pytest.mark.parametrize("text", ["", "\n", "00ff", "ab" * 31, "xy" * 32, "é" * 64])
def test_bad_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text, "utf-8")
    with pytest.raises(ValueError, match="hex digits") as caught:
        hash_key(tmp_path)
    assert not text.strip() or text.strip() not in str(caught.value)
    assert (tmp_path / KEY_FILE).read_text("utf-8") == text  # never replaced: old tables depend on it


def test_hash_is_hmac_sha256() -> None:
    assert keyed_hash(KEY, "Jürgen") == hmac.new(KEY, "Jürgen".encode(), hashlib.sha256).hexdigest()[:16]
    assert keyed_hash(KEY, "a") != keyed_hash(KEY, "b")
    assert keyed_hash(KEY, "a") != keyed_hash(KEY[::-1], "a")


def test_key_id_tells_keys_apart_without_the_key() -> None:
    assert key_id(KEY) == key_id(KEY)
    assert key_id(KEY) != key_id(KEY[::-1])
    assert key_id(KEY) not in KEY.hex()
