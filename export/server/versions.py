"""The served versions of a model: the newest complete ones, swapped without a gap."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from export.service_errors import NotFound, Overloaded
from rgan_tf.errors import BadInput, RganError
from rgan_tf.exported import SAVED_MODEL_FILE, version_number, versions
from rgan_tf.near_names import spelled_otherwise

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"
_REMEMBERED = 64  # versions whose state is kept


class Version(Protocol):
    """A version that can be served."""

    number: int

    def warm_up(self) -> None:
        """Makes the first requests as fast as later ones."""


@dataclasses.dataclass(frozen=True)
class State:
    """State of one version.

    Attributes:
      state: LOADING, AVAILABLE or END, as in TensorFlow Serving.
      error: why it is not available; empty if nothing is wrong.
    """

    state: str
    error: str = ""


class Versions:
    """The versions of a model folder that are in memory.

    A version is served once it is opened, checked against its manifest, loaded and warmed up; only
    then is the previous one unloaded. A version that cannot be loaded, such as a half-copied one,
    is retried when its folder changes.

    Args:
      model: folder of versions, which is watched; or one version, which stays.
      load: folder -> a loaded version.
      keep: number of versions to serve, the newest.
    """

    def __init__(self, model: Path, load: Callable[[Path], Version], *, keep: int = 1):
        self._model = model
        self._load = load
        self._keep = keep
        self._loaded: dict[int, Any] = {}
        self._refused: dict[int, tuple] = {}
        self.states: dict[int, State] = {}

    @property
    def newest(self) -> int | None:
        """The number of the version that answers by default."""
        return max(self._loaded, default=None)

    @property
    def loaded(self) -> tuple[Any, ...]:
        """The versions that answer."""
        return tuple(self._loaded.values())

    def get(self, number: int | None) -> Any:
        """A loaded version; the newest for None.

        Raises:
          NotFound: if that version is not served.
          Overloaded: if none is loaded yet.
        """
        loaded = self._loaded
        if not loaded:
            raise Overloaded("no version of the model is loaded yet")
        number = max(loaded) if number is None else number
        if number not in loaded:
            served = ", ".join(map(str, sorted(loaded)))
            raise NotFound(f"version {number} is not served; served: {served}")
        return loaded[number]

    def announce(self) -> None:
        """Announces the versions that the first `refresh` loads, for early status requests."""
        for folder in self._folders()[: self._keep]:
            self._set_state(_number_of(folder), State(LOADING))

    def refresh(self) -> None:
        """Loads new versions of the folder and unloads old ones.

        Takes as long as loading; call it from its own thread, and never concurrently.

        Raises:
          BadInput: if two folders have one number; loaded versions are still served.
        """
        wanted: list[int] = []
        for folder in self._folders():
            if len(wanted) == self._keep:
                break
            number = _number_of(folder)
            if number in self._loaded or self._try(number, folder):
                wanted.append(number)
        if not wanted:  # keep serving what is in memory
            return
        # New dictionaries, because other threads read the old ones. A request that already has a
        # version keeps it alive until it is answered.
        given_up = set(self._loaded) - set(wanted)
        self._loaded = {number: self._loaded[number] for number in wanted}
        for number in sorted(given_up):
            self._set_state(number, State(END))
            logging.getLogger(__name__).info("version %d is no longer served", number)

    def check_any(self) -> None:
        """Checks that some version is served.

        Raises:
          BadInput: if none is; with the reason of the newest version.
        """
        if self._loaded:
            return
        reasons = [state.error for _, state in sorted(self.states.items()) if state.error]
        if reasons:
            raise BadInput(f"--model {self._model}: no version can be served: {reasons[-1]}")
        advice = spelled_otherwise(self._model) or "; make one with rgan export"
        raise BadInput(f"--model {self._model}: no exported model{advice}")

    def _folders(self) -> list[Path]:
        if (self._model / SAVED_MODEL_FILE).is_file():
            return [self._model]
        return versions(self._model)[::-1]

    def _try(self, number: int, folder: Path) -> bool:
        content = _content_of(folder)
        if self._refused.get(number) == content:
            return False
        self._set_state(number, State(LOADING))
        try:
            version = self._load(folder)
            version.warm_up()
        except Exception as error:  # noqa: BLE001 - the previous version must survive
            reason = str(error) if isinstance(error, (RganError, OSError)) else repr(error)[:200]
            self._refused[number] = content
            self._set_state(number, State(END, reason))
            logging.getLogger(__name__).warning("version %d is not served: %s", number, reason)
            return False
        self._refused.pop(number, None)
        self._loaded = {**self._loaded, number: version}
        self._set_state(number, State(AVAILABLE))
        logging.getLogger(__name__).info("version %d is served", number)
        return True

    def _set_state(self, number: int, state: State) -> None:
        newest = sorted({*self.states, number})[-_REMEMBERED:]
        self.states = {known: state if known == number else self.states[known] for known in newest}


def _number_of(folder: Path) -> int:
    number = version_number(folder.name)
    return 1 if number is None else number


def _content_of(folder: Path) -> tuple:
    """Changes when something in the folder is added or written, or its owner or mode is changed."""
    entries = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:  # deleted meanwhile
            continue
        # Programs that copy set the time of a file's content; that of its status is the system's.
        times = (status.st_mtime_ns, status.st_ctime_ns)
        entries.append((str(path.relative_to(folder)), status.st_size, *times))
    return tuple(entries)
