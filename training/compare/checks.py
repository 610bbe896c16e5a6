"""What a comparison refuses, or says, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.exported import is_exported
from rgan_tf.idle_settings import idle_settings, names_of
from rgan_tf.progress import note
from rgan_tf.runs import open_run
from training.compare.entries import Entry, changes_nothing, settings_of
from training.configuration import named_config


def check_out(out: Path, data: PreparedData) -> None:
    """Refuses a folder that is something else, or holds a comparison on other data."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out}: is a file; name a folder")
    for is_that, kind in (
        ((out / "run.json").is_file(), "is a run"),
        ((out / "manifest.json").is_file(), "holds data or a bank"),
        (is_exported(out), "is an exported model"),
    ):
        if is_that:
            raise BadInput(f"--out {out}: {kind}; name a folder for the comparison alone")
    # Every row is judged on --data, and rates are tried on stages as they are, also of other data.
    for record in sorted(out.glob("runs/**/run.json")):
        if open_run(str(record.parent)).data_fingerprint != data.fingerprint:
            raise BadInput(
                f"{record.parent}: was trained on other data than --data; name another --out, or "
                "remove it to train it again"
            )


def note_idle(entries: Sequence[Entry], overrides: Sequence[str], budget: str) -> None:
    """Names the overrides that change nothing in any row, nor what the rows' steps follow."""
    given = names_of(overrides)
    read = [(entry.config, entry.settings) for entry in entries]
    if budget == "flops":  # the rivals' steps are as many as cost what RetrieveGAN's do
        read += [(entry.config, ()) for entry in entries]
    found = []
    for name, settings in dict.fromkeys(read):
        config = named_config(name, [*overrides, *settings])
        found.append({key for keys in idle_settings(config, given).values() for key in keys})
    idle = [key for key in dict.fromkeys(given) if all(key in keys for keys in found)]
    if idle:
        note(f"--set: nothing is changed by {', '.join(idle)} in any of these systems")


def check_parts(systems: Sequence[str], configs: Mapping[str, Config]) -> None:
    """Refuses a row that no config would have, and tells of one that some lack."""
    for system in systems:
        lacking = [name for name, config in configs.items() if changes_nothing(config, system)]
        already = f"{', '.join(lacking)}: {' and '.join(settings_of(system))} already"
        if len(lacking) == len(configs):
            raise BadInput(
                f"--systems {system}: would be retrievegan again ({already}); leave it out"
            )
        if lacking:
            note(f"no row {system} of {already}")


def check_search(systems: Sequence[str], entries: Sequence[Entry], data: PreparedData) -> None:
    """Raises BadInput if the rates of some row could not be searched."""
    parts = [entry.system for entry in entries if not entry.own_run]
    if parts and "retrievegan" not in systems:
        raise BadInput(
            f"--search-rates: {parts[0]} is a part of the run of retrievegan; add retrievegan to "
            "--systems"
        )
    if data.record_count("val") < 2:
        raise BadInput(
            "--search-rates: rates are chosen on val, and the data has no two images there"
        )


def check_decided(configs: Mapping[str, Config]) -> None:
    """Refuses a config that says itself what the systems of a comparison decide.

    Raises:
      BadInput: names the setting.
    """
    for name, config in configs.items():
        for setting, found, needed in (
            ("retrieval.choice", config.retrieval.choice, "learned"),
            ("training.system", config.training.system, "retrievegan"),
            ("training.scale_with_replicas", config.training.scale_with_replicas, "none"),
        ):
            if found != needed:
                raise BadInput(
                    f"{name}: has {setting}={found}; the systems that are compared decide that, so "
                    "leave it out"
                )
