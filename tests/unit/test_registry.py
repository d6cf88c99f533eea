"""The registry: versions that never change, aliases that move with a reason, a log that shows what was done to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotpath.config import parse_config
from hotpath.errors import HeldError, HotpathError
from hotpath.registry import log
from hotpath.registry.errors import ManifestError, RegistryError, UnknownModelError
from hotpath.registry.log import Entry, Identity
from hotpath.registry.manifest import MODEL_FILE, decode_manifest, encode_manifest, version_of
from hotpath.registry.process import AliasRequest, Registrar, ask
from hotpath.registry.store import ADMISSION_FILE, Admission, Registry
from tests.support.candidates import ROOMY, make_candidate

ANN = Identity("ann", "desk head")


def put(registry: Registry, name: str = "small", **changes: Any) -> str:
    """A version in its place, without the gates that other tests look at."""
    staged = make_candidate(registry.staging / "s", name=name, **changes)
    admission = Admission("native", "", {}, 0.0, "", "none", "here", [])
    (staged / ADMISSION_FILE).write_bytes(msgspec.json.encode(admission))
    version = version_of((staged / "manifest.json").read_bytes())
    registry.install(staged, name, version, ANN)
    return version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.create(tmp_path / "registry")


def test_a_manifest_has_one_text_and_so_one_version(tmp_path: Path) -> None:
    data = (make_candidate(tmp_path / "c") / "manifest.json").read_bytes()
    manifest = decode_manifest(data, where="test")
    assert encode_manifest(manifest) == data
    assert version_of(data) != version_of(encode_manifest(msgspec.structs.replace(manifest, notes="other")))


def test_versions_are_found_by_alias_and_by_their_first_digits(registry: Registry) -> None:
    first, second = put(registry), put(registry, notes="second")
    assert registry.versions("small") == [first, second]
    assert registry.resolve("small", second[:8]) == second
    registry.set_alias("small", "champion", first[:10], ANN, reason="better on Tuesday")
    assert registry.resolve("small", "champion") == first
    assert registry.manifest("small", "champion").name == "small"
    with pytest.raises(UnknownModelError, match="no version begins with 'zz'"):
        registry.resolve("small", "zz")
    with pytest.raises(UnknownModelError, match="version"):
        registry.resolve("small", "")
    with pytest.raises(UnknownModelError) as raised:
        registry.versions("smal")
    assert "small" in raised.value.next_step
    with pytest.raises(UnknownModelError, match="has no shadow"):
        registry.resolve("small", "shadow")


def test_every_change_is_logged_with_who_and_why(registry: Registry) -> None:
    first, second = put(registry), put(registry, notes="second")
    registry.set_alias("small", "champion", first, ANN, reason="first")
    registry.set_alias("small", "champion", second, Identity("bob", "trader"), reason="second")
    registry.set_alias("small", "champion", "", ANN, reason="rolled back")
    assert registry.alias("small", "champion") is None
    assert [(e.what, e.who.user, e.version, e.before, e.reason) for e in registry.entries()] == [
        ("admitted", "ann", first, "", ""),
        ("admitted", "ann", second, "", ""),
        ("alias", "ann", first, "", "first"),
        ("alias", "bob", second, first, "second"),
        ("alias", "ann", "", second, "rolled back"),
    ]
    assert registry.verify() == []
    for alias, reason in (("boss", "why not"), ("champion", " ")):
        with pytest.raises(RegistryError):
            registry.set_alias("small", alias, first, ANN, reason=reason)


def test_verify_names_whatever_was_changed(registry: Registry) -> None:
    first, second = put(registry), put(registry, notes="second")
    registry.set_alias("small", "champion", first, ANN, reason="first")
    model = registry.version_folder("small", first) / MODEL_FILE
    os.chmod(model.parent, 0o755)
    os.chmod(model, 0o644)
    model.write_bytes(b"other")
    (registry.models_folder / "small" / "aliases" / "champion.json").write_bytes(
        json.dumps({"version": second, "sequence": 2}).encode()
    )
    unlogged = registry.models_folder / "small" / ("0" * 32)
    unlogged.mkdir()
    wrong = "\n".join(registry.verify())
    assert f"{first}: {MODEL_FILE}: was changed" in wrong
    assert "champion: points elsewhere" in wrong
    assert f"{'0' * 32}: was put there, not admitted" in wrong


def test_settling_makes_aliases_as_the_log_says(registry: Registry) -> None:
    """A registrar that died between its line in the log and the file."""
    first, second = put(registry), put(registry, notes="second")
    registry.set_alias("small", "champion", first, ANN, reason="first")
    line = Entry(0, "", ANN, "alias", "small", second, "champion", first, "second")
    log.append(registry.log_path, line)
    assert registry.verify() != []
    (registry.staging / "left").mkdir()
    assert registry.settle() and registry.resolve("small", "champion") == second
    assert registry.verify() == [] and not list(registry.staging.iterdir())


@pytest.mark.parametrize("damage", ["changed", "taken out", "put in", "order"])
def test_the_chain_shows_where_a_line_was_touched(damage: str, registry: Registry) -> None:
    for number in range(4):
        log.append(registry.log_path, Entry(0, "", ANN, "refused", f"m{number}"))
    lines = registry.log_path.read_bytes().split(b"\n")
    if damage == "changed":
        lines[1] = lines[1].replace(b'"m1"', b'"mx"')
    elif damage == "taken out":
        del lines[1]
    elif damage == "put in":
        lines.insert(1, lines[0])
    else:
        lines[1], lines[2] = lines[2], lines[1]
    registry.log_path.write_bytes(b"\n".join(lines))
    entries, trouble = log.read_log(registry.log_path)
    assert len(entries) == 1 and "line 2" in trouble
    with pytest.raises(RegistryError, match="line 2"):
        log.append(registry.log_path, Entry(0, "", ANN, "refused", "m9"))


def test_a_line_cut_at_any_byte_is_set_aside_and_the_log_goes_on(registry: Registry) -> None:
    for number in range(2):
        log.append(registry.log_path, Entry(0, "", ANN, "refused", f"m{number}"))
    whole = registry.log_path.read_bytes()
    first = whole.index(b"\n") + 1
    for at in range(first + 1, len(whole), 17):
        registry.log_path.write_bytes(whole[:at])
        assert len(log.read_log(registry.log_path)[0]) == 1
        log.append(registry.log_path, Entry(0, "", ANN, "refused", "after"))
        entries, trouble = log.read_log(registry.log_path)
        assert [each.model for each in entries] == ["m0", "after"] and not trouble


# ---- the registrar ---------------------------------------------------------------------------------------


def test_the_registrar_admits_refuses_and_obeys(registry: Registry) -> None:
    told: list[str] = []
    registrar = Registrar(registry, ROOMY, tell=told.append)
    good = make_candidate(registry.inbox / "good")
    make_candidate(registry.inbox / "bad", model=b"no model")
    (registry.inbox / "stray.txt").write_text("hello")
    (registry.inbox / ".being-written").mkdir()
    version = version_of((good / "manifest.json").read_bytes())
    assert registrar.look() == 1, "folders that just changed are left until the next look; a stray file is not"
    assert registrar.look(settled_seconds=0) == 2
    assert registry.versions("small") == [version]
    assert [path.name for path in registry.inbox.iterdir()] == [".being-written"]
    refusals = [json.loads(path.read_text()) for path in sorted(registry.refused.glob("*/refusal.json"))]
    assert {each["gate"] for each in refusals} == {"graph", "files"} and all(each["next_step"] for each in refusals)
    ask(registry, AliasRequest("small", "champion", version[:8], ANN, "first of its kind"))
    ask(registry, AliasRequest("small", "champion", "nothing", ANN, "a mistake"))
    (registry.inbox / "x.request.json").write_text("{")
    assert registrar.look() == 3
    assert registry.resolve("small", "champion") == version
    assert [each.gate for each in registry.entries() if each.what == "refused"].count("request") == 2
    assert registry.verify() == []


def test_a_registry_has_one_registrar(registry: Registry) -> None:
    first = Registrar(registry, ROOMY)
    with pytest.raises(HeldError, match="the registry"):
        Registrar(registry, ROOMY)
    first.close()
    Registrar(registry, ROOMY).close()


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_a_manifest_do_more_than_be_refused(data: st.DataObject, tmp_path: Path) -> None:
    if not (tmp_path / "c").exists():
        make_candidate(tmp_path / "c")
    text = bytearray((tmp_path / "c" / "manifest.json").read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=4)):
        text[at] = data.draw(st.integers(0, 255))
    try:
        decode_manifest(bytes(text), where="test")
    except ManifestError:
        pass


def test_an_error_of_admission_itself_does_not_hold_up_the_others(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hotpath.registry.process as process

    def broken(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr(process, "admit", broken)
    registrar = Registrar(registry, ROOMY)
    for name in ("one", "two"):
        make_candidate(registry.inbox / name)
    assert registrar.look(settled_seconds=0) == 2
    assert [each.gate for each in registry.entries()] == ["internal", "internal"]


def test_the_verb_makes_a_registry_and_answers_what_waits(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    make_candidate(Registry.create(folder).inbox / "good", model=b"broken")
    command = [sys.executable, "-m", "hotpath", "registrar", "--folder", str(folder), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0 and "1 answered" in done.stdout and "gate `graph`" in done.stderr


def test_a_folder_that_is_no_registry_is_told(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="holds no registry"):
        Registry(tmp_path)


def test_the_configuration_knows_the_registry(tmp_path: Path) -> None:
    text = '[registry]\nenabled = true\nfolder = "models"\nrequire_signature = true\nkeys = ["desk.pub"]\n'
    config = parse_config(text, source=tmp_path / "engine.toml")
    assert config.registry.folder == str(tmp_path / "models") and config.registry.keys == [str(tmp_path / "desk.pub")]
    with pytest.raises(HotpathError, match="latency_ns_max"):
        parse_config("[registry]\nlatency_ns_max = 0\n", source=tmp_path / "engine.toml")
