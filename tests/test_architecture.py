"""Rules of the architecture that a machine can hold, each with its reason."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from architecture_rules import CREATORS, IMPURE_CALLS, IMPURE_MODULES, LONG_FILES, ONE_PLACE, PURE, SHARED

pytestmark = pytest.mark.xdist_group("architecture")  # one worker parses all files
ROOT = Path(__file__).parent.parent
FILES = sorted(path for top in ("agent", "drivers") for path in (ROOT / top).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return tuple(found)


def test_the_core_knows_no_radio() -> None:
    """Third parties ship drivers: the core finds them by entry point."""
    wrong = [
        name(p) for p in FILES if name(p).startswith("agent/") and any(i.split(".")[0] == "drivers" for i in imports(p))
    ]
    assert not wrong


def test_a_driver_stands_alone_and_no_production_code_imports_a_simulator() -> None:
    for path in FILES:
        parts = name(path).split("/")
        if parts[0] != "drivers" or len(parts) < 3:
            continue
        for imported in imports(path):
            words = imported.split(".")
            if words[0] == "drivers" and len(words) > 1:
                ours = words[1] in (parts[1], "cbor", "limits", "serial", "single_use", "tasks", "told") or shares(
                    path, imported
                )
                assert ours, f"{name(path)} imports {imported}"


def shares(path: Path, imported: str) -> bool:
    """A simulator uses the pure half of its driver: one declaration of each message serves both ends."""
    allowed = [prefix for folder, prefix in SHARED.items() if name(path).startswith(folder)]
    module = imported.replace(".", "/")
    pure = f"{module}.py".startswith(PURE) or f"{module}/".startswith(PURE)
    return pure and imported.startswith(tuple(allowed))


def test_a_simulator_shares_only_pure_modules_of_its_driver() -> None:
    stick = ROOT / "drivers/sim/zwave/stick.py"
    assert shares(stick, "drivers.zwave.codec")
    assert shares(stick, "drivers.zwave.security.s2")
    assert not shares(stick, "drivers.zwave.driver")
    assert not shares(stick, "drivers.zigbee.availability")
    assert not shares(ROOT / "drivers/sim/zigbee/air.py", "drivers.zwave.codec")


def test_the_daemon_never_imports_the_stand_in_cloud() -> None:
    for path in FILES:
        if not name(path).startswith(("agent/sim/", "agent/commands/simulation.py")):
            assert not [i for i in imports(path) if i.startswith("agent.sim")], name(path)


@pytest.mark.parametrize("path", [p for p in FILES if name(p).startswith(PURE)], ids=name)
def test_pure_modules_do_no_io_and_know_no_time(path: Path) -> None:
    """Time and bytes are arguments: that is what makes them testable by plain calls."""
    wrong = {i.split(".")[0] for i in imports(path)} & IMPURE_MODULES
    calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)} & IMPURE_CALLS
    assert not wrong | calls


@pytest.mark.parametrize("library", ONE_PLACE)
def test_each_library_is_imported_in_one_place(library: str) -> None:
    """A library that can be replaced in one file is a library that can be replaced."""
    wrong = [
        name(path)
        for path in FILES
        if any(i.split(".")[0] == library for i in imports(path)) and not name(path).startswith(ONE_PLACE[library])
    ]
    assert not wrong


def test_tasks_are_created_where_somebody_waits_for_them() -> None:
    """A task that nobody owns hides its exception."""
    for path in FILES:
        calls = {ast.unparse(n.func).split(".")[-1] for n in ast.walk(tree(path)) if isinstance(n, ast.Call)}
        if calls & {"create_task", "ensure_future", "TaskGroup"} and "sim" not in path.parts:
            assert name(path) in CREATORS


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    modules = {name(p).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in FILES}
    for path in FILES:
        module = name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        found: set[str] = set()
        for node in top:
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names} & modules
                found |= inside or {node.module}
        graph[module] = found
    graph = {
        module: {found for found in targets if found in graph and found != module} for module, targets in graph.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in graph[module]:
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_files_and_functions_fit_a_readers_head() -> None:
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 420 or name(path) in LONG_FILES, f"{name(path)}: {lines} lines"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{name(path)}: {node.name} has {length} lines"


def test_no_handler_swallows_everything() -> None:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            ):
                assert not all(isinstance(step, ast.Pass) for step in node.body), f"{name(path)}:{node.lineno}"


def test_the_daemon_does_not_import_what_is_not_configured() -> None:
    absent = ("zigpy", "bellows", "bleak", "aiocoap", "rich", "pkcs11", "cryptography", "aiohttp", "tuf")
    code = f"import sys, agent.run, agent.cli; print([m for m in {absent} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_nothing_committed_names_a_registry() -> None:
    words = ("registry." + "npmjs", "files." + "pythonhosted")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for entry in filter(None, listed.split("\0")):
        text = (ROOT / entry).read_bytes().decode("utf-8", "ignore") if (ROOT / entry).is_file() else ""
        assert not [word for word in words if word in text], entry
